"""Handwritten digits that ship with scikit-learn: 1,797 images of 8 × 8, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from l1prune.zoo.examples import Examples
from l1prune.zoo.images import ImageData

TEST_IMAGES = 360


class Digits(ImageData):
    """The UCI handwritten digits (Alpaydin and Kaynak, 1998) as scikit-learn ships them.

    360 images, 36 a class or nearly so, are the test set, the same ones whatever the seed.
    """

    def __init__(
        self,
        batch_size: int = 32,
        val_fraction: float = 0.1,
        seed: int = 0,
        shape: Sequence[int] = (1, 8, 8),
        classes: int = 10,
    ) -> None:
        super().__init__(shape, classes, batch_size, val_fraction, seed)

    def read(self) -> tuple[Examples, Examples]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = Examples(
            torch.from_numpy(digits.images).float().unsqueeze(1),  # (N, 1, 8, 8), values 0 … 16
            torch.from_numpy(digits.target).long(),
        )
        pool, test = self._split(
            np.arange(len(images)), test_size=TEST_IMAGES, stratify=digits.target, random_state=0
        )
        return images.subset(pool.tolist()), images.subset(test.tolist())
