"""Plateaus: schedulers that go by a metric, as ReduceLROnPlateau, do not lose a step to a stop.

Lightning steps them at an epoch's very end, when checkpoints of that epoch are written already, and
does not do so again when a run goes on from one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import lightning.pytorch as pl

from l1prune.training.lightning import is_of_training

PLATEAUS = "plateaus"
"""Where they are noted in a checkpoint."""


_TAKEN: WeakKeyDictionary[pl.Trainer, list[list[float]]] = WeakKeyDictionary()


def note(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Note what the schedulers will be told that step when this epoch ends.

    Args:
        trainer: writes the checkpoint.
        checkpoint: of Lightning, about to be saved.
    """
    if waiting := [[number, value] for number, value in _waiting(trainer)]:
        checkpoint[PLATEAUS] = waiting


def take(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Take what was noted; several callbacks may, and the first has it.

    Args:
        trainer: goes on from the checkpoint.
        checkpoint: of Lightning, being loaded.
    """
    if noted := checkpoint.pop(PLATEAUS, None):
        _TAKEN[trainer] = noted


def step(trainer: pl.Trainer) -> None:
    """Step the schedulers once, as the end of the epoch would have that the run goes on from.

    Args:
        trainer: about to run its first batch.
    """
    configs = trainer.lr_scheduler_configs
    for number, value in _TAKEN.pop(trainer, []):
        if int(number) < len(configs):
            scheduler: Any = configs[int(number)].scheduler
            trainer.lightning_module.lr_scheduler_step(scheduler, value)


def _waiting(trainer: pl.Trainer) -> Iterator[tuple[int, float]]:
    """The schedulers whose step is due now and not yet made, each by its number and metric."""
    fit = trainer.fit_loop
    batches, epochs = fit.epoch_loop.batch_progress, fit.epoch_progress.current
    if not batches.is_last_batch or epochs.completed >= epochs.ready:
        return
    for number, config in enumerate(trainer.lr_scheduler_configs):
        due = (trainer.current_epoch + 1) % config.frequency == 0
        if config.reduce_on_plateau and config.interval == "epoch" and due:
            figure = str(config.monitor)
            value = trainer.callback_metrics.get(figure)
            # While a validation runs, what training has logged is of the epoch before.
            if value is not None and not (trainer.validating and is_of_training(trainer, figure)):
                yield number, float(value)
