"""Session: a run in the hands of a trainer, with all that hangs on its model and optimizers."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn

from l1prune.cuts import masks
from l1prune.cuts.starved import remarks
from l1prune.penalties import is_separable
from l1prune.training import loggers
from l1prune.training.averages import hold_averages_
from l1prune.training.cut import cut_
from l1prune.training.hooks import OptimizerHooks, clips_gradients
from l1prune.training.lightning import callbacks_of
from l1prune.training.rates import AfterEachCut, recorded, set_rates
from l1prune.training.recipe import Recipe
from l1prune.training.rounds import as_shares, check_fits, due, pressed
from l1prune.training.run import Run
from l1prune.training.strength import Moment
from l1prune.training.targets import RunTargets, announce, left, thaws
from l1prune.training.zeros import Zeros
from l1prune.weights import shards
from l1prune.weights.report import SparsityReport
from l1prune.weights.targets import Targets


class Session:
    """One fit of one model: what a run does to it, step by step.

    Args:
        recipe: what the run is asked to do.
        run: what it has come to; changed as it goes on.
        module: the model, on which nothing hangs yet.
        callbacks: of its trainer.

    Raises:
        ValueError: there is no weight to prune, or they cannot be cut as asked for.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        module: pl.LightningModule,
        callbacks: Iterable[pl.Callback] = (),
    ) -> None:
        self._recipe, self._run = recipe, run
        shards.reshard(module)
        self._known = RunTargets(recipe, run.masks, module, thaws(callbacks))
        self._attached = OptimizerHooks((), (), self._known.penalty, None, {})
        self._zeros = Zeros(self._known)
        self._shares: tuple[float, ...] = recipe.prune_at
        self._rewind = recipe.rewind or AfterEachCut(0.0)  # where stages begin the schedule anew

    @property
    def targets(self) -> Targets:
        """The weights to prune, of the model as it was last looked at."""
        return self._known.found

    @property
    def masks(self) -> masks.Masks:
        """Those of what is in the model, under the names that it has now."""
        return self._known.saved()

    # ---- training starts

    def begin(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Hang on the optimizers what presses and holds.

        Raises:
            ValueError: the trainer gives the run no time, or its optimizers nothing to go by.
        """
        recipe, run = self._recipe, self._run
        run.clock.begin(trainer)
        run.stages.check(trainer, self.targets, recipe.prune_at)
        run.stages.begin_again(run.clock.progress(trainer))
        steps = run.clock.steps(trainer)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_fits(recipe.prune_at, steps * run.stages.shortest)
        self._shares = as_shares(recipe.prune_at, steps)
        if not run.rates and (recipe.rewind is not None or run.stages.several):
            run.rates = self._rewind.plan(lambda: recorded(trainer, run.clock.left(trainer)))
        self._known.begin(trainer.optimizers)
        announce(self.targets)
        if said := left(run.chosen, self.targets):
            rank_zero_warn(said)
        self.hold(trainer, module)
        presses_small = run.strength.presses_small
        run.criterion.settle(recipe.plan, run.rounds, presses_small, trainer.optimizers)
        self._attach(trainer, module)

    def _attach(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._attached.remove()
        self._run.chosen = [target.name for target in self.targets]
        run, recipe = self._run, self._recipe
        form = run.strength.form(recipe.form)
        self._attached = OptimizerHooks(
            trainer.optimizers,
            self.targets,
            self._known.penalty,
            form,
            run.masks,
            run.steps,
            run.gradients,
        )
        if run.phase == "press":
            run.criterion.watch(module, self.targets, trainer.optimizers)

    # ---- it goes on

    def begin_batch(
        self, trainer: pl.Trainer, module: pl.LightningModule, first_of_epoch: bool
    ) -> None:
        """Cut what is due, and set λ and the learning rate for the coming step."""
        run, at = self._run, self._recipe.prune_at
        run.clock.begin_batch(trainer)
        if first_of_epoch:
            self.inspect(trainer, module)
        else:
            self._look_again(trainer, module, thorough=False)
        done = run.clock.progress(trainer)
        if run.stages.waits:
            self._next_stage(trainer, module, done)
        elif run.stages.several and run.stages.complete and run.stages.ended:
            self._go_back(trainer, module)
            run.stages.settle()
        within, steps = run.stages.within(done), sum(self._attached.steps)
        rounds = due(at, within, steps)
        if run.phase == "press" and rounds > run.rounds_done:
            self.cut(trainer, module, rounds)
        if run.phase == "press" and self.targets:
            passes = run.clock.passes(trainer)
            moment = Moment(pressed(at, within, steps), run.clock.batches, passes)
            run.strength.advance(moment, self.targets, run.masks)
        self._attached.press(run.pressure)
        if run.rates:
            where = self._rewind.position(done, run.stages.parts, self._shares, run.rates)
            set_rates(trainer.optimizers, run.rates, where)
        self._zeros.begin_batch(trainer, module)

    def end_batch(self) -> None:
        """Count."""
        self._run.clock.end_batch()
        self._run.steps = self._attached.steps

    def after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep removed weights out of what is clipped."""
        if clips_gradients(trainer, module):
            masks.hold_gradients_(self.targets, self._run.masks)

    def cut(self, trainer: pl.Trainer, module: pl.LightningModule, rounds: int) -> None:
        """Make the cut that is due after so many rounds."""
        run, by = self._run, None
        if self.targets:  # others are frozen as yet
            by = cut_(run, self._known.penalty, self.targets, trainer, rounds / run.rounds)
        self.hold(trainer, module)
        run.rounds_done = rounds
        if run.phase == "tune":
            run.release()
            report = self.count(module)
            loggers.log_layers(trainer.loggers, report)
            if report.starved:
                names = ", ".join(report.starved)
                rank_zero_warn(f"the cut left a single weight of {names}: cut less")
            single = is_separable(self._known.penalty)  # each weight is a unit of its own
            scope = getattr(by, "scope", None) if single else None
            for remark in remarks(self.targets, run.masks, scope) if run.stages.is_last else ():
                rank_zero_warn(remark)

    def _next_stage(self, trainer: pl.Trainer, module: pl.LightningModule, done: float) -> None:
        """Go on from the best network so far, with all that a stage counts at its beginning."""
        run = self._run
        self._go_back(trainer, module)
        run.stages.go_on(done)
        self._begin_stage()
        self._attach(trainer, module)

    def _begin_stage(self) -> None:
        self._run.rounds_done = 0
        self._run.strength = self._recipe.begin_strength()

    def _go_back(self, trainer: pl.Trainer, module: pl.LightningModule) -> bool:
        """Return to the best network so far; whether it was another."""
        went = self._run.stages.go_back_(module, self.targets, self._run.masks)
        if went:
            for optimizer in trainer.optimizers:
                optimizer.state.clear()  # its moments are those of a network that is gone
            self._run.forget()
        return went

    # ---- weights that come later, and others that are moved

    def _look_again(self, trainer: pl.Trainer, module: pl.LightningModule, thorough: bool) -> None:
        run = self._run
        cuts_to_come = run.phase == "press" or not run.stages.is_last
        renamed = self._known.look_again(trainer.optimizers, thorough, cuts_to_come)
        if renamed is not None:
            run.rename(renamed)
            self._attach(trainer, module)

    def inspect(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """See which weights there are, that those removed are zero, and make them so."""
        shards.reshard(module)
        if self._attached:
            self._look_again(trainer, module, thorough=True)
        else:
            self._known.follow()
        self._zeros.inspect(trainer, module)

    def begin_evaluation(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A validation or test is about to show the model its first batch."""
        self.inspect(trainer, module)
        self._zeros.begin(trainer, module)

    def expect_moves(self) -> None:
        """Others have had their turn: hold where the next batch begins."""
        self._zeros.expect_moves()

    def hold(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the zeros into the weights, and into their running averages."""
        shards.reshard(module)
        self._zeros.hold()
        hold_averages_(callbacks_of(trainer), self._run.masks)

    def is_of(self, module: pl.LightningModule) -> bool:
        """Whether a model is the one that was trained."""
        own = {id(parameter) for parameter in module.parameters()}
        return all(id(target.parameter) in own for target in self.targets)

    def is_intact(self, module: pl.LightningModule) -> bool:
        """Whether it is, with the weights that it was left with."""
        return self.is_of(module) and not masks.moved(self.targets, self._run.masks)

    # ---- it ends

    def end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Training is over: what is left to cut in a smoke test is cut, and all is let go."""
        run = self._run
        if run.phase == "press" and trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.cut(trainer, module, run.rounds)
        elif run.phase == "press" and not run.stages.several:
            left = run.rounds - run.rounds_done
            rank_zero_warn(f"the run ended before {left} of its cuts: train on, or cut earlier")
        if self._go_back(trainer, module) and not run.stages.complete:
            self._begin_stage()  # trained on, it is gone through anew
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            run.stages.conclude()
        self.inspect(trainer, module)
        self.hold(trainer, module)
        self.close()

    def end_at_once(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The run was at its end when it was taken up: training has not started."""
        self._run.masks.unpack(self.targets)
        self._go_back(trainer, module)
        if self._run.phase == "press" and trainer.global_step:
            rank_zero_warn(
                "the run was over before pruning began: raise max_epochs, or what else ends it"
            )

    def close(self) -> bool:
        """Take off model, optimizers and strategy what hangs there; whether pressure did."""
        self._zeros.end()
        self._run.criterion.close()
        return self._attached.remove()

    def count(self, module: pl.LightningModule) -> SparsityReport:
        """What is left of the model as it is now."""
        return SparsityReport.of(module, self.targets, str(self._run.criterion))
