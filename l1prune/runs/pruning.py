"""Pruning: what prunes in the run of a trainer, if anything does."""

from __future__ import annotations

import lightning.pytorch as pl

from l1prune.training.callback import L1Pruning
from l1prune.training.lightning import callbacks_of


def pruning_of(trainer: pl.Trainer) -> list[L1Pruning]:
    """What prunes in this run: one callback, or none in a dense run.

    >>> pruning_of(pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"))
    []
    """
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, L1Pruning)]
