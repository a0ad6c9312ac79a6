"""Randomness: seeds that depend on where a run is, and on nothing that was drawn before."""

from __future__ import annotations

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import check_same, is_whole


def mixed(*parts: int) -> int:
    """A seed below 2³² that depends on each of some whole numbers ≥ 0, and on their order.

    >>> mixed(0, 7) == mixed(0, 7), mixed(0, 7) == mixed(7, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def seed(number: int) -> None:
    """Seed all generators of this process with a number from 0 to 2³² − 1.

    >>> seed(7); first = torch.rand(2)
    >>> seed(7); torch.equal(torch.rand(2), first)
    True
    """
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


class StepSeed(pl.Callback):
    """Seeds all random generators before each batch is fetched, from seed, process and batch alone.

    So dropout is the same whatever was drawn before: by an earlier part of the run, or a validation
    that the resumed run does not repeat.

    Args:
        seed: a whole number ≥ 0.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, seed: int = 0) -> None:
        if not is_whole(seed, 0):
            raise ValueError(f"seed={seed!r}: give a whole number from 0 up")
        self.seed = seed
        self.batches = 0
        self._ahead = False

    def _seed(self, trainer: pl.Trainer) -> None:
        seed(mixed(self.seed, trainer.global_rank, self.batches))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Resumed, the loader is iterated before any hook of training: a stock one draws its order.
        self._ahead = self.batches > 0
        if self._ahead:
            self._seed(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self.batches, self._ahead = 0, False
        if not self._ahead:
            self._seed(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._ahead:
            self._seed(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.batches += 1
        self._ahead = False
        self._seed(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._seed(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches, "seed": self.seed}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        saved = checkpoint.get("callbacks", {}).get(self.state_key, {})
        if trainer.state.fn == TrainerFn.FITTING and "seed" in saved:
            check_same({"StepSeed.seed": str(self.seed)}, {"StepSeed.seed": str(saved["seed"])})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]
