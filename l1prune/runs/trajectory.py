"""The way of one run over the plane of weights and accuracy."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.training import loggers
from l1prune.training.callback import pruning_of
from l1prune.weights.report import SparsityReport


class Trajectory(L.Callback):
    """Notes after every epoch how many weights were left and how accurate the network was.

    A dense run is noted like a pruned one. A run that is resumed has the epochs before as well.

    Args:
        monitor: the validation metric that says how accurate.

    Attributes:
        points: weights left and ``monitor``, epoch by epoch.
    """

    def __init__(self, monitor: str = "val/accuracy") -> None:
        super().__init__()
        self.monitor = monitor
        self.points: list[tuple[int, float]] = []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not pruning_of(trainer):  # which does it itself
            loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if not fitting or self.monitor not in metrics:
            return
        left = metrics.get(loggers.X_AXIS)
        count = SparsityReport.of(pl_module).nonzero if left is None else int(left)
        self.points.append((count, float(metrics[self.monitor])))

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = [tuple(point) for point in state_dict["points"]]
