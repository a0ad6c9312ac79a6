"""Keeps the best network of a run, among those that are what the run is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.runs.monitor import Mode, Monitor, is_evaluation, settled
from l1prune.runs.pruning import pruning_of
from l1prune.training.loggers import X_AXIS
from l1prune.weights.report import SparsityReport
from l1prune.weights.warning import warn


class BestCheckpoint(ModelCheckpoint):
    """The epoch with the best ``monitor``; in a pruned run, of those after the last cut.

    A network under pressure is more accurate than it will be once it is cut, so the best of all
    epochs would be a dense one. In a run of several stages it is the best of the last one, or of
    the smallest network within the budget.

    Args:
        folder: where ``best.ckpt`` goes.
        monitor: a validation metric, as the module logs it.
        mode: ``"max"`` where higher is better, or ``"min"``; None: as its name tells.

    Raises:
        ValueError: the name does not tell it, and `mode` does not either; or, before the first
            step, it is a figure of validation that no validation logs.

    >>> BestCheckpoint("runs/a", "val_mse").mode
    'min'
    """

    def __init__(
        self, folder: str | Path, monitor: str = "val/accuracy", mode: Mode | None = None
    ) -> None:
        judge = Monitor.of(monitor, mode)
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=judge.name,
            mode=judge.mode,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )
        self.left = 0.0
        self._judge = judge

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if is_evaluation(self._judge.name) and not trainer.enable_validation:
            raise ValueError(
                f"BestCheckpoint: monitor={self._judge.name}, but there is no validation; give the "
                "run a validation_step and data"
            )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        figures = trainer.callback_metrics
        # In a sanity check a module may log nothing.
        judges = trainer.state.fn == TrainerFn.FITTING and (figures or not trainer.sanity_checking)
        if judges and is_evaluation(self._judge.name):
            settled(figures, self._judge.name, self._judge.mode)
        pruning = pruning_of(trainer)
        if not all(one.arrived for one in pruning):
            return
        left = float(figures.get(X_AXIS, 0.0))
        if left < self.left:
            self.best_k_models.clear()  # larger than need be: no longer what the run is for
        self.left = left
        super().on_validation_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"left": self.left}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.left = state_dict["left"]

    def figures(self, report: SparsityReport) -> dict[str, float]:
        """The figures of the network in the file: its ``monitor``, and its weights, counted there.

        Args:
            report: which weights count. Empty is the answer while there is no file, or a broken
                one, of which it warns.
        """
        if not self.best_model_path or self.best_model_score is None:
            return {}
        try:
            weights = torch.load(self.best_model_path, map_location="cpu", weights_only=True)
        except Exception:  # torch has many for a file that was cut off
            warn(f"{self.best_model_path} is missing or broken: it is left out")
            return {}
        layers = tuple(
            replace(layer, nonzero=int(weights["state_dict"][layer.name].count_nonzero()))
            for layer in report.layers
        )
        counts = replace(report, layers=layers).to_dict()
        return {str(self.monitor): float(self.best_model_score), **counts}
