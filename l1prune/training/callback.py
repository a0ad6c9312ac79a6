"""L1Pruning walks a Lightning Trainer through pressure, cut and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from l1prune.checks import check_object
from l1prune.cuts import masks
from l1prune.cuts.plans import Once, Stages, as_stages, by_size
from l1prune.cuts.saliency import measured
from l1prune.cuts.thresholds import Sparsity, Threshold
from l1prune.penalties import L1, Penalty
from l1prune.pressure.controllers import Controller
from l1prune.pressure.forms import Form, Proximal
from l1prune.training import clock, loggers, rates, strategies
from l1prune.training.averages import hold_averages_
from l1prune.training.clipping import clips_gradients
from l1prune.training.hooks import Attached
from l1prune.training.resume import checkpoints, randomness
from l1prune.training.resume.loader import load_states
from l1prune.training.run import RunState
from l1prune.training.strength import ByPasses, Moment, Plan, as_strength
from l1prune.weights import shards
from l1prune.weights.report import SparsityReport
from l1prune.weights.rules import Rules, as_rules
from l1prune.weights.targets import Targets, find_targets

MANY = 10
"""Rounds, from which on each cut is small."""


class L1Pruning(RunState):
    """Trains under L1 pressure, removes what has become small, fine-tunes what is left.

    Args:
        strength: λ, as in loss + λ·Σ|w|: a number, a `Schedule` over the pressure phase, or a
            controller such as `Follow()`, which finds what the planned sparsity needs. By default
            `ByPasses()`: it grows from 0 to 1e-4 in three passes over the data.
        threshold: what is removed: by default `Sparsity(0.95)`; a number: weights smaller than it;
            `Budget("val/accuracy", 0.005)`: as much as that allows; `SparsityPath()`: more and
            more, for the whole frontier.
        penalty: what presses: by default `L1()`; `ElasticNet()`, `GroupL1()`, …
        prune_at: when: a share of the run in (0, 1), an optimizer step, or several of either for
            several rounds, after each of which the rest is pressed on. By default fifty rounds
            between 10 % and 60 % of the run, or of each stage where the threshold has several;
            one at 60 % if it is a size, at 50 % with `rewind`.
        targets: which weights: see `find_targets`; by default the weights of all layers.
        form: how the penalty enters a step: `Proximal()`, `Subgradient()`; by default the proximal
            map, in the optimizer's own metric, or in the Euclidean one under a controller.
        rewind: the share of the learning rate's schedule to which it goes back after each round
            of `prune_at`, in [0, 1); from there it goes on to its end, once in each (Renda et al.,
            2020). None: it is left alone, except that it begins anew in each stage.

    Attributes:
        report: exact counts, after `fit`.

    Raises:
        ValueError: an argument makes no sense (at once), or does not fit the model, the optimizer
            or the length of the run (before the first step).

    >>> L1Pruning(threshold=0.001, prune_at=0.5).phase
    'press'
    """

    def __init__(
        self,
        strength: float | Plan | ByPasses | None = None,
        threshold: float | Threshold | Stages | None = None,
        penalty: Penalty | None = None,
        prune_at: int | float | Sequence[int] | Sequence[float] | None = None,
        targets: Rules | None = None,
        form: Form | None = None,
        rewind: float | None = None,
    ) -> None:
        strength = ByPasses() if strength is None else strength
        stages = as_stages(Sparsity(0.95) if threshold is None else threshold)
        self.penalty = L1() if penalty is None else penalty
        self.form = Proximal() if form is None and isinstance(strength, Controller) else form
        check_object("penalty", self.penalty, ("score", "value", "prox_"), "L1()")
        if self.form is not None:
            check_object("form", self.form, ("check", "before", "after"), "Proximal()")
        self.targets = None if targets is None else as_rules(targets)
        self.rewind = rates.check(rewind)
        if prune_at is None:
            gradual = rewind is None and isinstance(stages.threshold(()), Sparsity | None)
            prune_at = clock.rounds(0.1, 0.6, 50) if gradual else 0.6 if rewind is None else 0.5
        self.prune_at = clock.as_rounds(prune_at)
        # Saliency foretells small changes: one large cut by it may all but empty a layer. And a
        # controller presses what is small, so that the cut must go by that.
        if isinstance(strength, Controller) or len(self.prune_at) < MANY:
            stages = by_size(stages)
        self.threshold = stages.cut if isinstance(stages, Once) else stages
        self._attached = Attached((), (), self.penalty, None, {})
        names = ("threshold", "penalty", "prune_at", "targets", "form", "rewind")
        super().__init__(
            as_strength(strength, self.threshold, self.penalty, self.form),
            stages,
            {"strength": strength} | {name: getattr(self, name) for name in names},
        )

    # ---- the run begins

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            strategies.check_strategy(trainer.strategy, trainer.callbacks)  # type: ignore[attr-defined]
            checkpoints.take_care(trainer, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0 and not self._resumed:
            self._reset()
        checkpoints.relax(trainer)
        shards.reshard(pl_module)
        self._found: Targets = find_targets(pl_module, self.targets)
        strategies.check_units(self._found, self.penalty)
        masks.check(self._found, self.penalty, self._stages)
        loggers.define_axes(trainer.loggers)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resumed = False
        self._walk.check(trainer, self._found, self.prune_at)
        self._shares = clock.as_shares(self.prune_at, trainer, self._walk.shortest)
        if not self._rates and (self.rewind is not None or len(self._stages.ends) > 1):
            self._rates = rates.recorded(trainer)
        self.batches = clock.rescaled(self.batches, self._per_epoch, trainer)
        self._per_epoch = float(trainer.num_training_batches)
        load_states(trainer)
        self._unpack(self._found)
        self._hold(trainer)
        self._attached.remove()
        self._attached = Attached(
            trainer.optimizers, self._found, self.penalty, self.form, self.masks, self.steps
        )

    def _hold(self, trainer: pl.Trainer) -> None:
        """Write the zeros into the weights, and into their running averages."""
        shards.reshard(trainer.lightning_module)
        masks.hold_(self._found, self.masks)
        hold_averages_(trainer.callbacks, self.masks)  # type: ignore[attr-defined]

    # ---- the run goes on

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._randomness = []
        done = clock.progress(trainer, self.batches)
        if self._walk.waits:
            self._next_stage(trainer, pl_module, done)
        within = self._walk.within(done)
        due = sum(share <= within for share in self._shares)
        if self.phase == "press" and due > self.rounds_done:
            self._cut(trainer, pl_module, due)
        if self.phase == "press":
            passes = self.batches / trainer.num_training_batches
            moment = Moment(within / self._shares[-1], self.batches, passes)
            self._strength.advance(moment, self._found, self.masks)
        self._attached.press(self.strength, self._strength.spared, self._strength.ease)
        if self._rates:
            parts = self._walk.parts if len(self._stages.ends) > 1 else (*self._shares, 1.0)
            where = rates.position(done, parts, self.rewind or 0.0)
            rates.set_rates(trainer.optimizers, self._rates, where)

    def _next_stage(self, trainer: pl.Trainer, pl_module: pl.LightningModule, done: float) -> None:
        """Go on from the best network so far, with all that a stage counts at its beginning."""
        self._go_back(trainer, pl_module)
        self._walk.go_on(done)
        self.rounds_done = 0
        self._strength = self._make_strength()

    def _go_back(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._walk.go_back_(pl_module, self._found, self.masks):
            for optimizer in trainer.optimizers:
                optimizer.state.clear()  # its moments are those of a network that is gone
            self._fishers = {}

    def _cut(self, trainer: pl.Trainer, pl_module: pl.LightningModule, due: int) -> None:
        progress = due / len(self._shares)
        assert self._walk.threshold is not None, "not in the phase in which cuts are due"
        threshold, weighed = measured(
            self._walk.threshold, self._found, trainer.optimizers, self._fishers
        )
        cut = masks.cut(self._found, self.penalty, threshold, self.masks, progress, weighed)
        if trainer.world_size > 1:
            shards.check_agreement(cut, {t.name: t.parameter.detach() for t in self._found})
        self.masks.update(cut)
        self._hold(trainer)
        for target in self._found:
            target.parameter.data.add_(0.0)  # what pressure made −0.0, and the cut left, is +0.0
        self.rounds_done = due
        if self.phase == "tune":
            self._strength.spared = {}  # a byte a weight, of no more use
            self._fishers = {}  # eight bytes
            report = SparsityReport.of(pl_module, self._found)
            loggers.log_layers(trainer.loggers, report)
            if report.starved:
                names = ", ".join(report.starved)
                rank_zero_warn(f"the cut left a single weight of {names}: cut less")

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if clips_gradients(trainer, pl_module):
            masks.hold_gradients_(self._found, self.masks)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.batches += 1
        self.steps = self._attached.steps

    # ---- what is seen

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With the validation's own figures, so that a logger puts both on one line.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._log(pl_module)
            loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._walk.validated(trainer, pl_module, self.masks, self.batches)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Resumed between a validation and its epoch's end, Lightning draws for an epoch too many.
        randomness.restore_own(self._randomness)
        if not trainer.enable_validation:
            self._log(pl_module)

    def _log(self, pl_module: pl.LightningModule) -> None:
        report = SparsityReport.of(pl_module, self._found)
        pl_module.log_dict(
            {
                "params/nonzero": float(report.nonzero),
                "params/sparsity": report.sparsity,
                "prune/strength": self.strength,
            },
            sync_dist=True,
            reduce_fx="max",  # the same on all processes: unlike a mean, exact
        )

    # ---- the run ends, or is stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.phase == "press":
            left = len(self.prune_at) - self.rounds_done
            rank_zero_warn(f"the run ended before {left} of its cuts: train on, or cut earlier")
        self._go_back(trainer, pl_module)
        self._walk.conclude()
        self._hold(trainer)
        self._attached.remove()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._unpack(self._found)  # a run that was resumed at its end has not started
        # By now an averaging callback, whichever came first, has put the average in place.
        self.report = SparsityReport.of(pl_module, self._found)
        loggers.summarise(trainer.loggers, self.report)
        names = (
            "report",
            "masks",
            "batches",
            "_per_epoch",
            "rounds_done",
            "steps",
            "_strength",
            "_walk",
        )
        self.send_home(trainer, {name: getattr(self, name) for name in names})

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # It may have come between a step, or a cut, and the zeros: a file saved now must have them.
        if self._attached.remove():
            self._hold(trainer)
        checkpoints.relax(trainer)


def pruning_of(trainer: pl.Trainer) -> list[L1Pruning]:
    """What prunes in this run: one callback, or none in a dense run."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, L1Pruning)]
