"""Baseline: a run without pruning tells its loggers what one with pruning does.

So that the dense network is on the charts on which the others are.
"""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.runs.pruning import pruning_of
from l1prune.training.naming import DENSE
from l1prune.training.notes import Notes
from l1prune.training.validations import Validations
from l1prune.weights.report import SparsityReport


class Baseline(L.Callback):
    """Takes notes of a run without `L1Pruning`; where there is one, it has taken them itself."""

    def __init__(self) -> None:
        super().__init__()
        self._notes = Notes(DENSE, Validations())

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not pruning_of(trainer):
            self._notes.begin(trainer, {})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self._notes = Notes(DENSE, Validations())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not pruning_of(trainer):
            self._notes.validated(trainer, SparsityReport.of(pl_module).nonzero, arrived=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not pruning_of(trainer):
            self._notes.end(trainer, SparsityReport.of(pl_module))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not pruning_of(trainer):
            self._notes.tested(trainer, SparsityReport.of(pl_module))

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._notes.validations.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._notes.validations.load_state_dict(state_dict["validations"])
