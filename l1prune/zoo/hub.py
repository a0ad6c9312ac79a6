"""Image classification sets in the Hugging Face layout: by name from the Hub, or a local folder."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from l1prune.checks import needing
from l1prune.zoo.examples import Examples
from l1prune.zoo.images import ImageData

if TYPE_CHECKING:
    import datasets

HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
MODES = {1: "L", 3: "RGB"}
"""How Pillow calls an image of so many channels."""


class HubImages(ImageData):
    """A data set with ``train`` and ``test`` splits, one image column and one label column.

    Read through the ``datasets`` library, so it is downloaded once and cached where that library
    caches. The images are decoded once and stay in memory.

    Args:
        path: a name on the Hub (``"ylecun/mnist"``) or a folder with the same files
            (``mnist/train-*.parquet``, ``mnist/test-*.parquet``), which needs no network.

    The other arguments are those of :class:`~l1prune.zoo.images.ImageData`.

    Raises:
        ValueError: at construction, when ``path`` is neither a folder nor a name the Hub could
            have; at ``setup``, when nothing can be read there.
        ImportError: at construction, without the extra ``hub``.
    """

    extra = "hub"

    def __init__(
        self,
        path: str = "ylecun/mnist",
        batch_size: int = 128,
        val_fraction: float = 0.1,
        seed: int = 0,
        shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__(shape, classes, batch_size, val_fraction, seed)
        if self.shape[0] not in MODES:
            raise ValueError(
                f"data.shape={list(self.shape)}: give channels first, 1 for grey or 3 for colour"
            )
        datasets_library()
        self.path = path
        self.folder = Path(path).expanduser()
        if not self.folder.is_dir() and not HUB_NAME.fullmatch(path):
            raise ValueError(
                f"data.path={path}: no such folder (looked in {self.folder.resolve()}); "
                "give a folder of parquet files, or a name on the Hugging Face Hub such as "
                "ylecun/mnist"
            )

    def read(self) -> tuple[Examples, Examples]:
        library = datasets_library()
        local = self.folder.is_dir()
        try:
            splits = library.load_dataset(str(self.folder.resolve()) if local else self.path)
        except (OSError, library.exceptions.DatasetsError) as error:
            raise ValueError(
                f"data.path={self.path}: cannot be read {'here' if local else 'from the Hub'} "
                f"({error}); give a folder of parquet files, or be online and name a data set of "
                "the Hub such as ylecun/mnist"
            ) from error
        missing = {"train", "test"} - set(splits)
        if missing:
            raise ValueError(
                f"data.path={self.path}: has the splits {sorted(splits)} but not "
                f"{sorted(missing)}; give a data set with both 'train' and 'test'"
            )
        return self._decode(splits["train"]), self._decode(splits["test"])

    def _decode(self, rows: datasets.Dataset) -> Examples:
        library = datasets_library()
        image = self._column(rows, library.Image)
        label = self._column(rows, library.ClassLabel)
        # Straight from the stored bytes: the library's own decoding takes twice as long.
        table = rows.cast_column(image, library.Image(decode=False)).with_format("arrow")[:]
        encoded = table[image].combine_chunks().field("bytes").to_pylist()
        pixels = np.stack([self._pixels(data) for data in encoded])  # (N, C, H, W), uint8
        return Examples(torch.from_numpy(pixels), torch.tensor(table[label].to_pylist()))

    def _pixels(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            mode = MODES[self.shape[0]]
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        return np.atleast_3d(pixels).transpose(2, 0, 1)

    def _column(self, rows: datasets.Dataset, kind: type) -> str:
        for name, feature in rows.features.items():
            if isinstance(feature, kind):
                return str(name)
        raise ValueError(
            f"data.path={self.path}: none of its columns {rows.column_names} is of the kind "
            f"datasets.{kind.__name__}; give a data set for image classification"
        )


def datasets_library() -> Any:
    """The ``datasets`` library, an optional part of the installation.

    Raises:
        ImportError: saying how to install it.
    """
    with needing(HubImages.extra, "a data set of the Hub's kind"):
        import datasets
    return datasets
