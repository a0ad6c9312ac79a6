"""Notes: all that the loggers of one run are told of it, in the order in which it becomes known."""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as pl

from l1prune.training import loggers
from l1prune.training.validations import Validations
from l1prune.weights.report import SparsityReport


class Notes:
    """What is told of a run, pruned or dense.

    Args:
        recipe: what it is called.
        validations: of the run; they are added to.
    """

    def __init__(self, recipe: str, validations: Validations) -> None:
        self.recipe = recipe
        self.validations = validations

    def begin(self, trainer: pl.Trainer, arguments: Mapping[str, str]) -> None:
        """A fit begins.

        Args:
            trainer: with the loggers.
            arguments: what the pruning was told, in words.
        """
        loggers.define_axes(trainer.loggers)
        owners = (trainer.lightning_module, getattr(trainer, "datamodule", None))
        own = {name for owner in owners if owner is not None for name in owner.hparams_initial}
        loggers.introduce(trainer.loggers, self.recipe, arguments, own)

    def validated(self, trainer: pl.Trainer, nonzero: int, arrived: bool) -> None:
        """A validation has ended. All processes call it together.

        Args:
            trainer: with the loggers, and the figures.
            nonzero: the weights left.
            arrived: whether the network is what the run is for so far.
        """
        self.validations.note(nonzero, arrived, trainer.callback_metrics)
        loggers.log_extremes(trainer.loggers, self.validations)

    def end(self, trainer: pl.Trainer, report: SparsityReport) -> None:
        """A fit has ended, with a network of these counts."""
        loggers.log_frontier(trainer.loggers, self.validations)
        loggers.summarise(trainer.loggers, report)
        loggers.conclude(trainer.loggers, self.recipe, report)

    def tested(self, trainer: pl.Trainer, report: SparsityReport) -> None:
        """The network of these counts has been tested."""
        loggers.log_point(trainer.loggers, report.nonzero, trainer.callback_metrics)
