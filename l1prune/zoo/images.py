"""Labelled images: how the image sets are split and scaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from l1prune.checks import needing
from l1prune.zoo.examples import Examples, InMemory


class ImageData(InMemory):
    """Train, validation and test images in memory, scaled to zero mean and unit deviation.

    A subclass says where the images come from, in :meth:`read`. Validation is carved out of the
    training images with ``seed``, class by class; the test images do not depend on the seed and are
    not looked at before ``trainer.test``.

    Args:
        shape: ``(C, H, W)`` of one image, what a network built for this data expects.
        classes: number of labels, ``0 … classes − 1``.
        batch_size: images per training step, shared between the processes.
        val_fraction: share of the training images kept for validation, in (0, 1).
        seed: of the validation split and of the order of training images.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: at construction for sizes that cannot be; at ``setup`` when the images read do
            not have this ``shape`` or these ``classes``.
    """

    extra = "zoo"
    """Of l1prune, that brings what the data set needs."""

    def __init__(
        self, shape: Sequence[int], classes: int, batch_size: int, val_fraction: float, seed: int
    ) -> None:
        super().__init__(batch_size, seed)
        with needing(self.extra, f"the data set {type(self).__name__}"):
            from sklearn.model_selection import train_test_split
        self._split = train_test_split
        if not 0 < val_fraction < 1:
            raise ValueError(
                f"data.val_fraction={val_fraction}: give a share of the training images between "
                "0 and 1, for example 0.1"
            )
        self.shape = tuple(shape)
        self.classes = classes
        self.val_fraction = val_fraction

    def read(self) -> tuple[Examples, Examples]:
        """Training and test images as stored: any number type, any scale."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Read, split and scale; once, whatever the number of stages."""
        if self.train is not None:
            return
        pool, test = self.read()
        self._check(pool)
        kept, held = self._split(
            np.arange(len(pool)),
            test_size=self.val_fraction,
            stratify=pool.labels.numpy(),
            random_state=self.seed,
        )
        train = pool.subset(kept.tolist())
        mean, deviation = channel_statistics(train.inputs)
        self.train, self.val, self.test = (
            Examples(part.inputs.float().sub_(mean).div_(deviation), part.labels)
            for part in (train, pool.subset(held.tolist()), test)
        )

    def _check(self, pool: Examples) -> None:
        found = tuple(pool.inputs.shape[1:])
        if found != self.shape:
            raise ValueError(
                f"data.shape={list(self.shape)}: the images are {list(found)}; "
                f"give data.shape=[{','.join(map(str, found))}]"
            )
        labels = int(pool.labels.max()) + 1
        if labels > self.classes:
            raise ValueError(
                f"data.classes={self.classes}: the labels need {labels}; give data.classes={labels}"
            )


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, each ``(C, 1, 1)``.

    >>> mean, deviation = channel_statistics(torch.tensor([0, 2]).view(2, 1, 1, 1))
    >>> mean.item(), deviation.item()
    (1.0, 1.0)
    """
    deviation, mean = torch.std_mean(images.float(), dim=(0, 2, 3), correction=0)
    return mean.view(-1, 1, 1), deviation.clamp_min(1e-6).view(-1, 1, 1)


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Images moved down and right by whole pixels; what comes in is the edge, repeated.

    Args:
        images: ``(B, C, H, W)``.
        offsets: ``(B, 2)``, int64.

    >>> shifted(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[0, 1]]))
    tensor([[[[1, 1, 2]]]])
    """
    height, width = images.shape[2:]
    at = torch.arange(max(height, width), device=images.device)
    rows = (at[:height] - offsets[:, :1]).clamp(0, height - 1)
    columns = (at[:width] - offsets[:, 1:]).clamp(0, width - 1)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    # A slice between two indices comes last: (B, H, W, C).
    return images[image, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
