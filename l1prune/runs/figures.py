"""Figures: what a module logs in validation, known before it is trained."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.seed import isolate_rng

ALONE: Mapping[str, Any] = {
    "logger": DummyLogger(),  # takes whatever a module tells it
    "plugins": [LightningEnvironment()],
    "strategy": "auto",
    "devices": 1,
    "num_nodes": 1,
    "profiler": None,
    "fast_dev_run": False,
    "num_sanity_val_steps": 2,
    "max_time": None,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""What a trainer is given to be the only process, and to leave nothing behind."""


def validation_figures(
    model: L.LightningModule,
    data: L.LightningDataModule | None,
    make_trainer: Callable[..., L.Trainer] = L.Trainer,
) -> dict[str, float]:
    """What a module logs when it validates two batches, by name, in the order of logging.

    A copy begins a fit and is stopped before the first step, in this process alone. The module
    stays as it is, and so does the state of the random generators: what is trained afterwards has
    the bits that it would have had.

    Args:
        model: untrained.
        data: None where it has loaders of its own.
        make_trainer: what the run's trainer will be made by, with its length and precision.

    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> class Logging(BoringModel):
    ...     def validation_step(self, batch, batch_idx):
    ...         self.log("val/loss", self(batch).sum())
    >>> list(validation_figures(Logging(), None))
    ['val/loss']
    """
    glance, failure = _Glance(), None
    with isolate_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will say what there is to say
        try:
            make_trainer(**ALONE, callbacks=[glance]).fit(copy.deepcopy(model), data)
        except _Seen:
            pass
        except Exception as error:  # the generators are restored where nothing is raised
            failure = error
    if failure is not None:
        raise failure
    return glance.figures


class _Seen(Exception):  # noqa: N818  # nothing has gone wrong
    """All that was asked for is known: it ends the fit, and no hook of its end is called."""


class _Glance(L.Callback):
    """Notes what the sanity check logs, and ends the fit there."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.figures = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def on_sanity_check_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise _Seen

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        raise _Seen  # without validation there is no sanity check
