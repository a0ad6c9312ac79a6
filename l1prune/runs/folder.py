"""A run's folder: what it began with, where it stopped, what it leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only
from safetensors.torch import save
from torch import Tensor, contiguous_format, nn

from l1prune.runs.files import read_end, read_json, read_yaml
from l1prune.runs.identity import DECIDE, OTHER, check_same_run, difference
from l1prune.runs.points import CONFIG, SUMMARY
from l1prune.runs.settings import settings
from l1prune.runs.traces import remove
from l1prune.training.resume.last import last_checkpoint
from l1prune.weights.files import write_whole
from l1prune.weights.report import SparsityReport
from l1prune.weights.shards import gathered

MODEL = "model.safetensors"
END = "...\n"
"""What ends a document of YAML: a file without it may have been cut off."""


class RunFolder:
    """Begins a run in a folder, or takes it up again where it stopped.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / ".lock")

    def begin(self, given: Mapping[str, Any]) -> bool:
        """Take the folder for this process, and see whose it is. Nothing there is changed.

        Args:
            given: the settings of the run, plain values only.

        Returns:
            whether there is something to train: not if the run ended with these very settings.

        Raises:
            ValueError: another process trains here, the run that began here is another, or it has
                ended and left nothing to go on from.
        """
        if not is_first():
            return True  # the first process has looked
        self._take()
        before, is_whole = _settings(self.path / CONFIG)
        if self.summary() and settings(before) == settings(given):
            return False
        if self.last is None and not (self.path / SUMMARY).exists():
            return True  # nothing was trained
        # One that may have been cut off tells nothing; the checkpoint will.
        if before and is_whole:
            check_same_run(before, given, self.path)
        if self.last is None:
            raise ValueError(
                f"the run in {self.path} has ended, with other settings or another version, and "
                f"left no checkpoint to go on from: give {OTHER}"
            )
        return True

    def _take(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{self.path}: another process is training in this folder; wait for it, or give "
                "another, as hydra.run.dir=FOLDER"
            ) from None

    @property
    def last(self) -> Path | None:
        """The checkpoint to go on from; None at first."""
        return last_checkpoint(self.path)

    def keep(self, network: nn.Module, report: SparsityReport) -> None:
        """Write the network that the run came to, and the counts of its layers.

        All processes call it together, the first one writes.
        """
        whole = {n: _whole(w) for n, w in network.state_dict().items()}
        if is_first():
            write_whole(self.path / "report.csv", report.to_csv)
            write_whole(self.path / MODEL, lambda file: file.write_bytes(save(whole)))

    def end(self, figures: Mapping[str, Any]) -> None:
        """Write the summary: it says that nothing is left to do, here or for a logger."""
        if is_first():
            text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
            write_whole(self.path / SUMMARY, lambda file: file.write_text(text))

    def summary(self) -> dict[str, Any]:
        """The figures of a run that has ended; empty if it has not."""
        try:
            figures = read_json(self.path / SUMMARY)
        except (OSError, ValueError):
            figures = None
        return figures if isinstance(figures, dict) else {}

    def discard(self) -> None:
        """Remove what was made for a run that was refused: nothing that was there before it."""
        if (self.path / CONFIG).exists():
            return  # one has trained here
        try:
            self._take()
        except ValueError:
            return  # another process does
        self.close()
        remove(self.path)

    def close(self) -> None:
        """Let other processes have the folder."""
        self._lock.release()


def other_run(folder: Path, given: Mapping[str, Any]) -> str:
    """Why a run may not begin in a folder: one has ended there with other settings; or empty.

    Args:
        folder: to begin in.
        given: the settings of the run, plain values only.

    >>> other_run(Path("no such folder"), {"seed": 0})
    ''
    """
    if not (folder / SUMMARY).exists():
        return ""
    before, _ = _settings(folder / CONFIG)
    told = difference(before, given, (*DECIDE, "labels", "trainer"))
    if not told:
        return ""
    kind = f"other settings ({told})" if before else "settings that it does not say"
    return f"{folder} holds a finished run of {kind}: give another folder, or remove this one"


def _whole(weight: Tensor) -> Tensor:
    # In the usual order of its entries, whatever the memory format: safetensors has no other.
    return gathered(weight).detach().cpu().clone(memory_format=contiguous_format)


def is_first() -> bool:
    """Whether this is the one process of the run that speaks and writes."""
    return not getattr(rank_zero_only, "rank", 0)


def _settings(file: Path) -> tuple[dict[str, Any], bool]:
    """What a `config.yaml` says, nothing if it cannot be read; and whether it is whole."""
    try:
        tree = read_yaml(file)
        return (tree if isinstance(tree, dict) else {}), read_end(file).endswith(END)
    except (OSError, ValueError):
        return {}, False
