"""Labelled examples held in memory: the loaders that every reference data set shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from l1prune.training.resume.loader import ResumableLoader, Shuffle

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Examples(Dataset[Batch]):
    """Inputs with labels, read in whole batches: indexing a tensor once beats collating rows.

    Args:
        inputs: ``(N, …)``, any number type: images ``(N, C, H, W)``, sequences ``(N, T)``.
        labels: ``(N,)``, or ``(N, T)`` for one at each place of a sequence, int64.

    >>> examples = Examples(torch.arange(3.0).view(3, 1, 1, 1), torch.tensor([7, 8, 9]))
    >>> examples.__getitems__([2, 0])[1]
    tensor([9, 7])
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.inputs[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.tensor(indices, dtype=torch.int64)  # of an empty list too
        # Half the time of self.inputs[rows].
        return self.inputs.index_select(0, rows), self.labels.index_select(0, rows)

    def subset(self, rows: Sequence[int]) -> Examples:
        """The examples at ``rows``, in that order."""
        return Examples(*self.__getitems__(list(rows)))


class InMemory(L.LightningDataModule):
    """Loaders of training, validation and test examples; a subclass fills these in ``setup``.

    Args:
        batch_size: examples per training step, shared between the processes.
        seed: of the order of the training examples.
        at_once: examples per batch of validation and test: without gradients only memory bounds
            it, and fewer batches cost fewer trips through the loop.

    Raises:
        ValueError: for sizes and seeds that cannot be.
    """

    def __init__(self, batch_size: int, seed: int, at_once: int = 1000) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size={batch_size}: give at least 1 example per step")
        if seed < 0:
            raise ValueError(f"data.seed={seed}: give a whole number from 0 up")
        self.batch_size = batch_size
        self.seed = seed
        self.at_once = at_once
        self.train: Examples | None = None
        self.val: Examples | None = None
        self.test: Examples | None = None

    def train_dataloader(self) -> ResumableLoader[Batch]:
        assert self.train is not None, "call setup() first"
        processes, rank = place(self.trainer)
        if self.batch_size % processes or self.batch_size > len(self.train):
            raise ValueError(
                f"data.batch_size={self.batch_size}: give a multiple of the {processes} processes "
                f"that share it, and no more than the {len(self.train)} training examples"
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
        return self._in_order(self.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        assert self.test is not None, "call setup() first"
        return self._in_order(self.test)

    def _in_order(self, examples: Examples) -> DataLoader[Batch]:
        """All examples, in every process: an accuracy counts each once, whatever their number."""
        order: DistributedSampler[Batch] = DistributedSampler(examples, 1, rank=0, shuffle=False)
        return DataLoader(examples, self.at_once, sampler=order, collate_fn=as_read)


def place(trainer: L.Trainer | None) -> tuple[int, int]:
    """How many processes there are, and which of them this is."""
    return (trainer.world_size, trainer.global_rank) if trainer else (1, 0)


def as_read(batch: Any) -> Any:
    """Collate nothing: :meth:`Examples.__getitems__` already returns a whole batch."""
    return batch
