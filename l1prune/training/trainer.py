"""Trainer: what a run asks of its loop, answered by a Lightning Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BaseFinetuning
from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.plans import Plan
from l1prune.training import averages, clock, display, loggers, movers
from l1prune.training.clock import TrainerClock
from l1prune.training.lightning import callbacks_of, is_trial, overrides
from l1prune.training.loop import Choices, Clock, Loop, Removable, Standing
from l1prune.training.rates import Rates, recorded
from l1prune.training.selection import Selection, warn_of_others
from l1prune.training.stages import check_often, goes_by_validations, stays_behind
from l1prune.weights.report import SparsityReport


class TrainerLoop(Loop):
    """A Lightning Trainer as a run sees it.

    Args:
        trainer: that of a fit, or of a test after it.
        module: the model.
        clock: of the run, which goes on with it.
    """

    def __init__(self, trainer: pl.Trainer, module: pl.LightningModule, clock: Clock) -> None:
        assert isinstance(clock, TrainerClock), "of a run that a callback began"
        self.trainer, self._module, self._clock = trainer, module, clock

    @property
    def model(self) -> pl.LightningModule:
        return self._module

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        return self.trainer.optimizers

    @property
    def is_trial(self) -> bool:
        return is_trial(self.trainer)

    @property
    def thaws(self) -> bool:
        """Whether there is a callback that unfreezes layers, as `BackboneFinetuning`."""
        return any(isinstance(one, BaseFinetuning) for one in callbacks_of(self.trainer))

    # ---- time

    def begin(self) -> None:
        self._clock.begin(self.trainer)

    def begin_batch(self) -> None:
        self._clock.begin_batch(self.trainer)

    def progress(self) -> float:
        return self._clock.progress(self.trainer)

    def passes(self) -> float:
        return self._clock.passes(self.trainer)

    def steps(self) -> float:
        return self._clock.steps(self.trainer)

    def validations_left(self) -> float:
        return clock.validations_left(self.trainer)

    def check_stages(self, plan: Plan, shortest: float) -> None:
        check_validations(plan, shortest, self.trainer)
        found = averages.names_of(callbacks_of(self.trainer))
        if plan.goes_back and found:
            raise ValueError(stays_behind(plan, found[0]))

    def planned_rates(self) -> Rates:
        return planned_rates(self.trainer, self._clock.left(self.trainer))

    # ---- who else acts

    def choices(self, run: Standing, last: float) -> Choices:
        warn_of_others(self.trainer, last)
        return Selection(run, self.trainer, self._module)

    def clips_gradients(self) -> bool:
        return (
            self.trainer.gradient_clip_val is not None
            or not self._module.automatic_optimization  # which clips, if at all, by itself
            or overrides(self._module, "configure_gradient_clipping")
        )

    def hold_averages(self, masks: Mapping[str, Tensor]) -> None:
        averages.hold_averages_(callbacks_of(self.trainer), masks)

    def moves_by_steps_alone(self) -> bool:
        return movers.moves_by_steps_alone(self.trainer, self._module)

    def before_steps(self, act: Callable[[bool], None]) -> Removable | None:
        trainer = self.trainer
        if not movers.suspects(callbacks_of(trainer), self._module, movers.LATE):
            return None
        return movers.BeforeSteps(
            trainer.strategy,
            lambda: None if trainer.sanity_checking else act(not trainer.training),
        )

    def suspects(self) -> list[str]:
        hooks = movers.BETWEEN_STEPS + movers.ELSEWHERE
        return movers.suspects(callbacks_of(self.trainer), self._module, hooks)

    def show(self, run: Standing) -> Removable:
        return display.Display(run, self.trainer)

    def show_layers(self, report: SparsityReport) -> None:
        loggers.log_layers(self.trainer.loggers, report)

    def conclude(self, report: SparsityReport, told: str) -> None:
        display.conclude(self.trainer, report, told)


def check_validations(plan: Plan, shortest: float, trainer: pl.Trainer) -> None:
    """Refuse a plan whose stages are shorter than the time between two validations.

    Raises:
        ValueError: there are too few.
    """
    if not trainer.enable_validation:
        raise ValueError(f"{goes_by_validations(plan)} the run has no validation; give it one")
    epochs = trainer.check_val_every_n_epoch or 1
    every = float(trainer.val_check_batch or 0) * epochs
    check_often(plan, shortest, clock.planned_batches(trainer), every, "batches")
    if math.isinf(every):  # where an epoch ends, if it is not known where that is
        check_often(plan, shortest, clock.planned_epochs(trainer), epochs, "epochs")


def planned_rates(trainer: pl.Trainer, left: float) -> Rates:
    """The learning rates that the schedulers of a Trainer have planned.

    Args:
        trainer: runs the schedulers, from where they are now.
        left: the share of the whole run that is left.

    Raises:
        ValueError: a scheduler cannot be walked, or the module steps its schedulers by itself.
    """
    configs = trainer.lr_scheduler_configs
    if configs and not trainer.lightning_module.automatic_optimization:
        raise ValueError("rewind: with manual optimization only the module knows its schedule")
    counts = [_length(trainer, config.interval) * left / config.frequency for config in configs]
    return recorded(
        trainer.optimizers,
        [(one.scheduler, int(count + 1e-9)) for one, count in zip(configs, counts, strict=True)],
    )


def _length(trainer: pl.Trainer, interval: str) -> float:
    """How often a scheduler of this interval is stepped in the run.

    Raises:
        ValueError: it is not known how long the run is.
    """
    steps = float(trainer.estimated_stepping_batches)
    if steps <= 0 or math.isinf(steps):
        raise ValueError(
            "rewind, and thresholds in stages, take the learning rate through its schedule, and it "
            "is not known how many steps the run has; give max_steps, or limit_train_batches=NUMBER"
        )
    if interval != "epoch":
        return steps
    batches = trainer.num_training_batches / trainer.accumulate_grad_batches
    return 0 if batches == math.inf else steps / math.ceil(batches)
