"""L1Pruning walks a Lightning Trainer through pressure, cut and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import Unpack

from l1prune.checks import check_same
from l1prune.cuts.criteria import Criterion
from l1prune.cuts.masks import Masks, hold_saved_
from l1prune.cuts.plans import Outcome, Plan
from l1prune.cuts.refit import Refit
from l1prune.cuts.thresholds import Threshold
from l1prune.penalties import Penalty
from l1prune.pressure.forms import Form
from l1prune.pressure.schedules import ByPasses, Schedule
from l1prune.training import loggers, strategies
from l1prune.training.clock import TrainerClock
from l1prune.training.lightning import callbacks_of
from l1prune.training.naming import recipe_name
from l1prune.training.notes import Notes
from l1prune.training.rates import HoldPeak, Rewind
from l1prune.training.recipe import Arguments, as_recipe
from l1prune.training.resume import checkpoints, digest, plateaus
from l1prune.training.resume.loader import load_states
from l1prune.training.rounds import Rounds
from l1prune.training.run import Run
from l1prune.training.session import Session
from l1prune.training.spawn import Original
from l1prune.training.strength import Controller
from l1prune.training.trainer import TrainerLoop
from l1prune.weights.report import SparsityReport
from l1prune.weights.rules import Rules


class L1Pruning(Original, pl.Callback):
    """Trains under L1 pressure, removes what has become small, fine-tunes what is left.

    Args:
        strength: λ, as in loss + λ·Σ|w|: a number, a `Schedule` over the pressure phase, or a
            controller such as `Follow()`, which finds what the planned sparsity needs. By default
            `ByPasses()`: it grows in three passes, to 1e-3 (SGD and units 1e-4, channels 2e-5).
        threshold: what is removed: by default `Sparsity(0.95)`; a number: weights smaller than it;
            `Budget("val/accuracy", 0.005)`: as much as that allows; `SparsityPath()`: more and
            more, for the whole frontier; `Cost("macs", 0.5)`: channels, until that share is left.
        penalty: what presses: `L1()`, `ElasticNet()`, …; `ChannelL1()`: whole channels, for `Cost`.
        criterion: what a weight is worth: `Saliency()`, `Size()`, `Wanda()`. By default saliency,
            if ten rounds make cuts small and the threshold leaves open how layers compare.
        prune_at: when the last of fifty rounds is: a share in (0, 1) of the run, or of each stage
            if it has several, by default 0.6; or a step. A size, and a `rewind` to a share,
            are cut once, by default at 0.5. `once(0.5)`, `rounds(0.2, 0.6, 5)`: all of them.
        targets: which weights: see `find_targets`; by default the weights of all layers.
        form: how the penalty enters a step: `Proximal()`, `Subgradient()`; by default the proximal
            map, in the optimizer's own metric, or in the Euclidean one under a controller.
        rewind: the share of the learning rate's schedule, in [0, 1), to which it goes back after
            each round (Renda et al., 2020); `HoldPeak()`: it waits at its highest until the last.

    Attributes:
        report: exact counts, after `fit`.
        run: all that a checkpoint holds of it.

    Raises:
        ValueError: an argument makes no sense; or, before the first step, does not fit the run.

    >>> L1Pruning(threshold=0.001, prune_at=0.5).phase
    'press'
    """

    def __init__(  # noqa: PLR0913  # one for each socket
        self,
        strength: float | Schedule | ByPasses | Controller | None = None,
        threshold: float | Threshold | Plan | None = None,
        penalty: Penalty | None = None,
        prune_at: int | float | Sequence[int] | Sequence[float] | Rounds | None = None,
        targets: Rules | None = None,
        form: Form | None = None,
        rewind: float | Rewind | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        super().__init__()
        self.recipe = as_recipe(
            strength, threshold, penalty, prune_at, targets, form, rewind, criterion
        )
        self._evaluates = self._evaluates_ours = self._resumed = self._started = False
        self._reset()

    @classmethod
    def finetune(
        cls, *, criterion: Criterion | None = None, **arguments: Unpack[Arguments]
    ) -> L1Pruning:
        """The same for a trained network with few passes to be pruned in.

        `Refit(criterion)` fits what each cut leaves of a layer to what the layer gave, `HoldPeak()`
        is its `rewind`, if none is given; all else is as in `L1Pruning`.

        >>> L1Pruning.finetune(threshold=0.001).recipe.criterion
        Refit(Saliency(least=0.6, shrinkage=0.5), damping=0.1, most=1152)
        """
        arguments.setdefault("rewind", HoldPeak())
        return cls(criterion=Refit(criterion), **arguments)

    def _reset(self) -> None:
        self._session: Session | None = None
        self.report: SparsityReport | None = None
        self.run = Run.of(self.recipe, TrainerClock())

    @property
    def phase(self) -> str:
        """`"press"` until the last cut of a stage, `"tune"` after it."""
        return self.run.phase

    @property
    def strength(self) -> float:
        """λ of the current step."""
        return self.run.pressure

    @property
    def masks(self) -> Masks:
        """What stays: a mask for each weight that was cut, by the name that it has now."""
        return self.run.masks if self._session is None else self._session.masks

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
        # Other weights may be put into the model to be evaluated: they are left alone.
        self._evaluates_ours = self._session is not None and self._session.is_intact(pl_module)
        if stage == "fit":
            strategies.check_strategy(trainer.strategy, callbacks_of(trainer))
            checkpoints.check_loading(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._evaluates = trainer.state.fn != TrainerFn.FITTING
        if not self._evaluates:
            digest.check_digest(checkpoint, self.state_key)
            plateaus.take(trainer, checkpoint)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        hold_saved_(checkpoint["state_dict"], self.masks)
        digest.note_digest(checkpoint, self.state_key)
        plateaus.note(trainer, checkpoint)

    def state_dict(self) -> dict[str, Any]:
        state = {"arguments": self.recipe.words, **self.run.state_dict()}
        # The model may have changed since it was last looked at.
        return state | ({"masks": self._session.masks.state_dict()} if self._session else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._evaluates:
            return  # what the last run came to is still worth knowing
        check_same(self.recipe.words, state_dict.get("arguments", {}))
        self._reset()
        self.run.load_state_dict(state_dict)
        self._resumed = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        again = self._session is not None and self._session.is_of(pl_module)
        goes_on = trainer.global_step > 0 and trainer.ckpt_path is None and again
        if not (self._resumed or goes_on):
            self._reset()
        checkpoints.uncheck_loading(trainer)
        self._session, self._started = self._begin(trainer, pl_module), False
        self._notes.begin(trainer, self.recipe.words)

    def _loop(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> TrainerLoop:
        return TrainerLoop(trainer, pl_module, self.run.clock)

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Session:
        return Session(self.recipe, self.run, self._loop(trainer, pl_module))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._resumed:  # since the fit began, where the strategy loads that late
            self._session = self._begin(trainer, pl_module)
        self._resumed, self._started = False, True
        load_states(trainer)
        plateaus.step(trainer)
        self._fitting.begin(self._loop(trainer, pl_module))

    # ---- the run goes on

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.run.randomness.go_on()
        self._fitting.begin_batch(self._loop(trainer, pl_module), first_of_epoch=batch_idx == 0)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._fitting.after_backward(self._loop(trainer, pl_module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self._fitting.end_batch()

    # ---- what is seen

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # Each batch of an evaluation is shown a model with its zeros.
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        ours = not trainer.sanity_checking and self._evaluates_ours and trainer.ckpt_path is None
        if self._session is None or not (fitting or ours):
            return
        if batch_idx == 0:
            self._session.begin_evaluation(self._loop(trainer, pl_module))
        else:
            self._session.hold(self._loop(trainer, pl_module))

    on_test_batch_start = on_validation_batch_start

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With the validation's own figures, so that a logger puts both on one line.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._log(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            metrics, checks = trainer.callback_metrics, trainer.sanity_checking
            if metrics or not checks:  # a module may log nothing while that is checked
                self.run.stages.check_metrics(metrics)
            if not checks:
                self._fitting.validated(self._loop(trainer, pl_module), metrics)
                if loggers.X_AXIS in metrics:
                    self._notes.validated(trainer, int(metrics[loggers.X_AXIS]), self.arrived)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.report is not None:
            self._notes.tested(trainer, self.report)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Resumed between a validation and its epoch's end, Lightning draws for an epoch too many.
        self.run.randomness.restore_again()
        if not trainer.enable_validation:
            self._log(pl_module)

    def _log(self, pl_module: pl.LightningModule) -> None:
        loggers.log_figures(pl_module, self._fitting.count(pl_module), self.strength)

    # ---- the run ends, or is stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._fitting.end(self._loop(trainer, pl_module))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._resumed:
            self._session = self._begin(trainer, pl_module)
        if self._resumed or not self._started:
            self._fitting.end_at_once(self._loop(trainer, pl_module), trainer.global_step > 0)
        # By now an averaging callback, whichever came first, has put the average in place.
        self.report = self._fitting.conclude(self._loop(trainer, pl_module))
        self._notes.end(trainer, self.report)
        self.report_back(trainer, {"report": self.report, "run": self.run})

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._session is None:
            return
        self._session.close()
        # A module's hooks come after those of callbacks: it may have moved weights since.
        if stage == "fit" and self.report is not None:
            self._session.inspect(self._loop(trainer, pl_module))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # It may have come between a step, or a cut, and the zeros: a file saved now must have them.
        if self._session is not None and self._session.close():
            self._session.hold(self._loop(trainer, pl_module))
        checkpoints.uncheck_loading(trainer)

    @property
    def _notes(self) -> Notes:
        return Notes(recipe_name(self.recipe), self.run.validations)

    @property
    def _fitting(self) -> Session:
        assert self._session is not None, "a fit has begun"
        return self._session
