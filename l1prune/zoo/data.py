"""Labelled images held in memory: the splits and loaders that every reference data set shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from l1prune.loader import ResumableLoader, Shuffle

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Images(Dataset[Batch]):
    """Images with a label each, read in whole batches: indexing a tensor once beats collating rows.

    Args:
        images: ``(N, C, H, W)``, any number type.
        labels: ``(N,)``, int64.

    >>> images = Images(torch.arange(3.0).view(3, 1, 1, 1), torch.tensor([7, 8, 9]))
    >>> images.__getitems__([2, 0])[1]
    tensor([9, 7])
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.tensor(indices)
        # Half the time of self.images[rows].
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)

    def subset(self, rows: Sequence[int]) -> Images:
        """The images at ``rows``, in that order."""
        return Images(*self.__getitems__(list(rows)))


class ImageData(L.LightningDataModule):
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
        ValueError: at construction for sizes that cannot be; at ``setup`` when the images read do
            not have this ``shape`` or these ``classes``.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, batch_size: int, val_fraction: float, seed: int
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size={batch_size}: give at least 1 image per step")
        if not 0 < val_fraction < 1:
            raise ValueError(
                f"data.val_fraction={val_fraction}: give a share of the training images between "
                "0 and 1, for example 0.1"
            )
        if seed < 0:
            raise ValueError(f"data.seed={seed}: give a whole number from 0 up")
        self.shape = tuple(shape)
        self.classes = classes
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.train: Images | None = None
        self.val: Images | None = None
        self.test: Images | None = None

    def read(self) -> tuple[Images, Images]:
        """Training and test images as stored: any number type, any scale."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Read, split and scale; once, whatever the number of stages."""
        if self.train is not None:
            return
        pool, test = self.read()
        self._check(pool)
        kept, held = train_test_split(
            np.arange(len(pool)),
            test_size=self.val_fraction,
            stratify=pool.labels.numpy(),
            random_state=self.seed,
        )
        train = pool.subset(kept.tolist())
        mean, deviation = channel_statistics(train.images)
        self.train, self.val, self.test = (
            Images(part.images.float().sub_(mean).div_(deviation), part.labels)
            for part in (train, pool.subset(held.tolist()), test)
        )

    def _check(self, pool: Images) -> None:
        found = tuple(pool.images.shape[1:])
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

    def train_dataloader(self) -> ResumableLoader[Batch]:
        assert self.train is not None, "call setup() first"
        processes, rank = place(self.trainer)
        if self.batch_size % processes or self.batch_size > len(self.train):
            raise ValueError(
                f"data.batch_size={self.batch_size}: give a multiple of the {processes} processes "
                f"that share it, and no more than the {len(self.train)} training images"
            )
        order = Shuffle(len(self.train), self.seed, processes, rank)
        # Whole batches only: however many processes share them, they are the same.
        return ResumableLoader(
            self.train,
            self.batch_size // processes,
            sampler=order,
            drop_last=True,
            collate_fn=as_read,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        assert self.val is not None, "call setup() first"
        return in_order(self.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        assert self.test is not None, "call setup() first"
        return in_order(self.test)


def place(trainer: L.Trainer | None) -> tuple[int, int]:
    """How many processes there are, and which of them this is."""
    return (trainer.world_size, trainer.global_rank) if trainer else (1, 0)


def in_order(images: Images) -> DataLoader[Batch]:
    """All images, in every process: an accuracy counts each once, whatever their number."""
    order: DistributedSampler[Batch] = DistributedSampler(images, 1, rank=0, shuffle=False)
    return DataLoader(images, EVAL_BATCH, sampler=order, collate_fn=as_read)


EVAL_BATCH = 1000
"""Without gradients only memory bounds a batch; fewer batches cost fewer trips through the loop."""


def as_read(batch: Any) -> Any:
    """Collate nothing: :meth:`Images.__getitems__` already returns a whole batch."""
    return batch


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, each ``(C, 1, 1)``.

    >>> mean, deviation = channel_statistics(torch.tensor([0, 2]).view(2, 1, 1, 1))
    >>> mean.item(), deviation.item()
    (1.0, 1.0)
    """
    deviation, mean = torch.std_mean(images.float(), dim=(0, 2, 3), correction=0)
    return mean.view(-1, 1, 1), deviation.clamp_min(1e-6).view(-1, 1, 1)
