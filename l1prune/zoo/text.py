"""Text as a data set: characters in, the next character out at each place."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from l1prune.zoo.examples import Examples, InMemory

SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


class Text(InMemory):
    """A text cut into sequences of ``length`` characters, each labelled with the one that follows.

    The last tenth is kept: its first half for validation, its second for the test; neither depends
    on the seed. Without a path it is "tiny Shakespeare" (Karpathy, 2015), 1.1 million characters,
    downloaded once into ``torch.hub.get_dir()`` and checked.

    Args:
        path: of a text file in UTF-8; None is tiny Shakespeare.
        length: characters in a sequence, T.
        classes: number of different characters.
        batch_size: sequences per training step, shared between the processes.
        seed: of the order of the training sequences.

    Raises:
        ValueError: at construction for sizes that cannot be and a file that is not there; at
            ``setup`` when the text cannot be downloaded, is too short, or has more characters.
    """

    def __init__(
        self,
        path: str | None = None,
        length: int = 64,
        classes: int = 65,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed, at_once=200)
        if length < 1:
            raise ValueError(f"data.length={length}: give at least 1 character a sequence")
        if path is not None and not Path(path).expanduser().is_file():
            raise ValueError(
                f"data.path={path}: no such file; give a text, or null to download one"
            )
        self.path = path
        self.length = length
        self.classes = classes

    def prepare_data(self) -> None:
        """Download what is not there; Lightning calls this in one process only."""
        if self.path is None and not _cached().exists():
            _cached().parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(SHAKESPEARE, str(_cached()), SHA256, progress=False)
            except (OSError, URLError, RuntimeError) as error:
                raise ValueError(
                    f"data.path=null: tiny Shakespeare cannot be downloaded from {SHAKESPEARE} "
                    f"({error}); be online, or give the file as data.path=FILE"
                ) from error

    def setup(self, stage: str) -> None:
        """Read, number the characters, split; once, whatever the number of stages."""
        if self.train is not None:
            return
        file = _cached() if self.path is None else Path(self.path).expanduser()
        text = file.read_text(encoding="utf-8")
        characters = sorted(set(text))
        if len(characters) > self.classes:
            raise ValueError(
                f"data.classes={self.classes}: the text has {len(characters)} different "
                f"characters; give data.classes={len(characters)}"
            )
        number = {character: index for index, character in enumerate(characters)}
        tokens = torch.tensor([number[character] for character in text])
        held = len(tokens) // 20
        if held <= self.length:
            raise ValueError(
                f"data.path={self.path}: a twentieth of this text, {held} characters, is not one "
                f"sequence of {self.length} and what follows it; give a longer text"
            )
        parts = tokens[: -2 * held], tokens[-2 * held : -held], tokens[-held:]
        self.train, self.val, self.test = (sequences(part, self.length) for part in parts)


def sequences(tokens: Tensor, length: int) -> Examples:
    """Cut tokens ``(N,)`` into sequences ``(⌊(N − 1) / T⌋, T)``; the labels are one place ahead.

    >>> sequences(torch.arange(6), 2).labels
    tensor([[1, 2],
            [3, 4]])
    """
    count = (len(tokens) - 1) // length
    inputs, labels = tokens[: count * length], tokens[1 : count * length + 1]
    return Examples(inputs.view(count, length), labels.view(count, length))


def _cached() -> Path:
    return Path(torch.hub.get_dir()) / "l1prune" / "tinyshakespeare.txt"
