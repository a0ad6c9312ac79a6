"""L1Pruning walks a Lightning Trainer through pressure, cut and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from l1prune.checks import check_same
from l1prune.cuts import masks
from l1prune.cuts.criteria import Criterion
from l1prune.cuts.plans import Outcome, Plan
from l1prune.cuts.thresholds import Threshold
from l1prune.penalties import Penalty
from l1prune.pressure.forms import Form
from l1prune.pressure.schedules import ByPasses, Schedule
from l1prune.training import clock, loggers, rates, strategies
from l1prune.training.averages import hold_averages_
from l1prune.training.criterion import RunCriterion
from l1prune.training.cut import cut_
from l1prune.training.hooks import Attached, clips_gradients
from l1prune.training.lightning import callbacks_of
from l1prune.training.recipe import as_recipe
from l1prune.training.resume import checkpoints
from l1prune.training.resume.digest import check_digest, note_digest
from l1prune.training.resume.loader import load_states
from l1prune.training.run import Run
from l1prune.training.spawn import Original
from l1prune.training.stages import Stages
from l1prune.training.strength import Controller, Moment
from l1prune.weights import shards
from l1prune.weights.report import SparsityReport
from l1prune.weights.rules import Rules
from l1prune.weights.targets import Targets, find_targets


class L1Pruning(Original, pl.Callback):
    """Trains under L1 pressure, removes what has become small, fine-tunes what is left.

    Args:
        strength: λ, as in loss + λ·Σ|w|: a number, a `Schedule` over the pressure phase, or a
            controller such as `Follow()`, which finds what the planned sparsity needs. By default
            `ByPasses()`: it grows from 0 to 1e-4 in three passes over the data.
        threshold: what is removed: by default `Sparsity(0.95)`; a number: weights smaller than it;
            `Budget("val/accuracy", 0.005)`: as much as that allows; `SparsityPath()`: more and
            more, for the whole frontier.
        penalty: what presses: by default `L1()`; `ElasticNet()`, `GroupL1()`, …
        criterion: what a weight is worth, by which the cuts decide: `Saliency()`, `Size()`,
            `Wanda()`. By default by saliency, where the optimizer tells it, as Adam does, at least
            ten rounds make each cut small, and the threshold leaves open how layers compare; by
            size elsewhere.
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
        run: what the run has come to, all that a checkpoint holds of it.

    Raises:
        ValueError: an argument makes no sense (at once), or does not fit the model, the optimizer
            or the length of the run (before the first step).

    >>> L1Pruning(threshold=0.001, prune_at=0.5).phase
    'press'
    """

    def __init__(  # noqa: PLR0913  # one for each socket
        self,
        strength: float | Schedule | ByPasses | Controller | None = None,
        threshold: float | Threshold | Plan | None = None,
        penalty: Penalty | None = None,
        prune_at: int | float | Sequence[int] | Sequence[float] | None = None,
        targets: Rules | None = None,
        form: Form | None = None,
        rewind: float | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        super().__init__()
        self.recipe = as_recipe(
            strength, threshold, penalty, prune_at, targets, form, rewind, criterion
        )
        self._attached = Attached((), (), self.recipe.penalty, None, {})
        self._evaluates = self._resumed = False
        self._reset()

    def _reset(self) -> None:
        """Forget the last run."""
        self.report: SparsityReport | None = None
        self.run = Run(
            rounds=len(self.recipe.prune_at),
            strength=self.recipe.begin_strength(),
            stages=Stages(self.recipe.plan),
            criterion=RunCriterion(self.recipe.criterion),
        )

    @property
    def phase(self) -> str:
        """`"press"` until the last cut of a stage, `"tune"` after it."""
        return self.run.phase

    @property
    def strength(self) -> float:
        """λ of the current step."""
        return self.run.pressure

    @property
    def masks(self) -> masks.Masks:
        """What stays: a mask for each weight that was cut, by its name."""
        return self.run.masks

    @property
    def outcomes(self) -> list[Outcome]:
        """What the stages came to that have ended, where the threshold has stages."""
        return self.run.stages.outcomes

    @property
    def arrived(self) -> bool:
        """Whether the network is what the run is for so far: cut, and what the plan answers."""
        return self.run.arrived

    # ---- the run begins

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            strategies.check_strategy(trainer.strategy, callbacks_of(trainer))
            checkpoints.take_care(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._evaluates = trainer.state.fn != TrainerFn.FITTING
        if not self._evaluates:
            check_digest(checkpoint, self.state_key)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        note_digest(checkpoint, self.state_key)

    def state_dict(self) -> dict[str, Any]:
        return {"arguments": self.recipe.words, **self.run.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._evaluates:
            return  # what the last run came to is still worth knowing
        check_same(self.recipe.words, state_dict.get("arguments", {}))
        self._reset()
        self.run.load_state_dict(state_dict)
        self._resumed = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0 and not self._resumed:
            self._reset()
        checkpoints.relax(trainer)
        shards.reshard(pl_module)
        found = find_targets(pl_module, self.recipe.targets)
        self._found: Targets = found.without(self.recipe.plan.left_out(found))
        strategies.check_units(self._found, self.recipe.penalty)
        masks.check(self._found, self.recipe.penalty, self.recipe.plan)
        loggers.define_axes(trainer.loggers)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        run, self._resumed = self.run, False
        run.stages.check(trainer, self._found, self.recipe.prune_at)
        self._shares = clock.as_shares(self.recipe.prune_at, trainer, run.stages.shortest)
        if not run.rates and (self.recipe.rewind is not None or run.stages.several):
            run.rates = rates.recorded(trainer)
        run.batches = clock.rescaled(run.batches, run.per_epoch, trainer)
        run.per_epoch = float(trainer.num_training_batches)
        load_states(trainer)
        run.masks.unpack(self._found)
        self._hold(trainer)
        run.criterion.settle(
            self.recipe.plan,
            len(self.recipe.prune_at),
            run.strength.presses_small,
            trainer.optimizers,
        )
        self._attach(trainer, pl_module)

    def _attach(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hang pressure and masks on the optimizers, and let the criterion see the model."""
        self._attached.remove()
        form = self.run.strength.form(self.recipe.form)
        self._attached = Attached(
            trainer.optimizers, self._found, self.recipe.penalty, form, self.masks, self.run.steps
        )
        if self.phase == "press":
            self.run.criterion.watch(pl_module, self._found)

    def _hold(self, trainer: pl.Trainer) -> None:
        """Write the zeros into the weights, and into their running averages."""
        shards.reshard(trainer.lightning_module)
        masks.hold_(self._found, self.masks)
        hold_averages_(callbacks_of(trainer), self.masks)

    # ---- the run goes on

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        run = self.run
        run.randomness.go_on()
        done = clock.progress(trainer, run.batches)
        if run.stages.waits:
            self._next_stage(trainer, pl_module, done)
        within = run.stages.within(done)
        due = sum(share <= within for share in self._shares)
        if self.phase == "press" and due > run.rounds_done:
            self._cut(trainer, pl_module, due)
        if self.phase == "press":
            passes = run.batches / trainer.num_training_batches
            moment = Moment(within / self._shares[-1], run.batches, passes)
            run.strength.advance(moment, self._found, self.masks)
        self._attached.press(self.strength)
        if run.rates:
            parts = run.stages.parts if run.stages.several else (*self._shares, 1.0)
            where = rates.position(done, parts, self.recipe.rewind or 0.0)
            rates.set_rates(trainer.optimizers, run.rates, where)

    def _next_stage(self, trainer: pl.Trainer, pl_module: pl.LightningModule, done: float) -> None:
        """Go on from the best network so far, with all that a stage counts at its beginning."""
        self._go_back(trainer, pl_module)
        self.run.stages.go_on(done)
        self.run.rounds_done = 0
        self.run.strength = self.recipe.begin_strength()
        self._attach(trainer, pl_module)

    def _go_back(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.run.stages.go_back_(pl_module, self._found, self.masks):
            for optimizer in trainer.optimizers:
                optimizer.state.clear()  # its moments are those of a network that is gone
            self.run.criterion.reset()

    def _cut(self, trainer: pl.Trainer, pl_module: pl.LightningModule, due: int) -> None:
        cut_(self.run, self.recipe.penalty, self._found, trainer, due / len(self._shares))
        self._hold(trainer)
        self.run.rounds_done = due
        if self.phase == "tune":
            self.run.release()
            report = self._count(pl_module)
            loggers.log_layers(trainer.loggers, report)
            if report.starved:
                names = ", ".join(report.starved)
                rank_zero_warn(f"the cut left a single weight of {names}: cut less")

    def _count(self, pl_module: pl.LightningModule) -> SparsityReport:
        return SparsityReport.of(pl_module, self._found, str(self.run.criterion))

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
        self.run.batches += 1
        self.run.steps = self._attached.steps

    # ---- what is seen

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With the validation's own figures, so that a logger puts both on one line.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._log(pl_module)
            loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run.stages.validated(trainer, pl_module, self.masks, self.run.batches)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Resumed between a validation and its epoch's end, Lightning draws for an epoch too many.
        self.run.randomness.restore_again()
        if not trainer.enable_validation:
            self._log(pl_module)

    def _log(self, pl_module: pl.LightningModule) -> None:
        loggers.log_figures(pl_module, self._count(pl_module), self.strength)

    # ---- the run ends, or is stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.phase == "press":
            left = len(self.recipe.prune_at) - self.run.rounds_done
            rank_zero_warn(f"the run ended before {left} of its cuts: train on, or cut earlier")
        self._go_back(trainer, pl_module)
        self.run.stages.conclude()
        self._hold(trainer)
        self._let_go()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.masks.unpack(self._found)  # a run that was resumed at its end has not started
        # By now an averaging callback, whichever came first, has put the average in place.
        self.report = self._count(pl_module)
        loggers.summarise(trainer.loggers, self.report)
        self.report_back(trainer, {"report": self.report, "run": self.run})

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # It may have come between a step, or a cut, and the zeros: a file saved now must have them.
        if self._let_go():
            self._hold(trainer)
        checkpoints.relax(trainer)

    def _let_go(self) -> bool:
        """Take off model and optimizers what hangs there; whether there was anything."""
        self.run.criterion.close()
        return self._attached.remove()


def pruning_of(trainer: pl.Trainer) -> list[L1Pruning]:
    """What prunes in this run: one callback, or none in a dense run."""
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, L1Pruning)]
