"""Lightning's private names: all that are used here, each behind a name that says what for.

A new version of Lightning may change any of them. The test of this room finds out.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

CheckpointIOWrapper = _WrappingCheckpointIO
"""A CheckpointIO around another one."""


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """The callbacks of a trainer, in the order in which they are called."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def is_trial(trainer: pl.Trainer) -> bool:
    """Whether it runs a few batches to see whether a program works: no run to be remembered."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def overrides(owner: pl.LightningModule | pl.LightningDataModule, hook: str) -> bool:
    """Whether a module, or its data, has a hook of its own in the place of Lightning's."""
    base = pl.LightningModule if isinstance(owner, pl.LightningModule) else pl.LightningDataModule
    if hook not in vars(owner) and getattr(type(owner), hook, None) is getattr(base, hook, None):
        return False  # as is nearly always so, and asked for at each step
    return is_overridden(hook, owner)


def keeps_average(callback: pl.Callback) -> bool:
    """Whether a callback of Lightning that averages the weights keeps them where it used to."""
    return hasattr(callback, "_average_model")


def average_of(callback: pl.Callback) -> nn.Module | None:
    """The averaged model of such a callback; None before it is set up for a fit."""
    average: nn.Module | None = getattr(callback, "_average_model", None)
    return average.module if isinstance(average, AveragedModel) else average


def count_of(callback: pl.Callback) -> Tensor | None:
    """How many networks are in the average of such a callback; None before it has one."""
    average = getattr(callback, "_average_model", None)
    keeper = average if isinstance(average, AveragedModel) else callback
    count: Tensor | None = getattr(keeper, "n_averaged", None)
    return count


def renews_batch_norm(callback: pl.Callback) -> bool:
    """Whether stochastic weight averaging adds an epoch for the statistics of BatchNorm."""
    return bool(getattr(callback, "_model_contains_batch_norm", False))


def ends_between(trainer: pl.Trainer) -> bool:
    """Whether a checkpoint saved after this batch is one that Lightning resumes as it was.

    It does not at an epoch's last batch, before a validation, or while gradients accumulate.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    awkward = trainer.is_last_batch or loop._should_accumulate()
    return not (awkward or loop._should_check_val_fx(fetcher))


def load_loader_states(trainer: pl.Trainer) -> None:
    """Give the loaders their states from the checkpoint that a run is resumed from, if any."""
    trainer.fit_loop._load_combined_loader_states()


def is_of_training(trainer: pl.Trainer, figure: str) -> bool:
    """Whether training has logged a figure, by the name that it has at an epoch's end."""
    logged: Any = trainer.fit_loop.epoch_loop._results
    names = {one.meta.name for one in logged.values()}
    return figure in names | {f"{name}_epoch" for name in names}


def is_launched(trainer: pl.Trainer) -> bool:
    """Whether this process was started by a strategy that trains in processes of its own."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def requeue_signal(trainer: pl.Trainer) -> int | None:
    """The signal on which Lightning has Slurm start the job again; None elsewhere."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
        return environment.requeue_signal
    return None


def is_offline(logger: WandbLogger) -> bool:
    """Whether a logger for Weights & Biases keeps its runs on this machine."""
    return bool(logger._offline)


def given_name(logger: WandbLogger) -> str | None:
    """The name that a run of Weights & Biases was given by a person, if it was."""
    name: str | None = logger._wandb_init.get("name")
    return name


def prefixed(logger: WandbLogger, name: str) -> str:
    """The name under which a logger stores a metric: it may have been given a prefix of its own."""
    return f"{logger._prefix}{logger.LOGGER_JOIN_CHAR}{name}" if logger._prefix else name


def has_trainer(model: pl.LightningModule) -> Any:
    """Whether a module is in the hands of a trainer: to ask for `model.trainer` would raise."""
    return model._trainer is not None
