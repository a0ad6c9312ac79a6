"""Session: a run in the hands of a loop, with all that hangs on its model and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from l1prune.cuts import masks
from l1prune.cuts.plans import told
from l1prune.pressure.pressure import Pressure
from l1prune.pressure.response import DefaultForm
from l1prune.training.cut import cut_
from l1prune.training.hooks import OptimizerHooks
from l1prune.training.loop import Choices, Loop, Removable
from l1prune.training.rates import AfterEachCut, peak_of, set_rates
from l1prune.training.recipe import Recipe
from l1prune.training.remarks import remark_on, remark_on_emptied, remark_on_starved
from l1prune.training.rounds import as_shares, check_fits, due, pressed
from l1prune.training.run import Run
from l1prune.training.strength import Moment
from l1prune.training.targets import RunTargets, announce
from l1prune.training.zeros import Zeros
from l1prune.weights import shards
from l1prune.weights.report import SparsityReport
from l1prune.weights.targets import Targets
from l1prune.weights.warning import warn


class Session:
    """One fit of one model: what a run does to it, step by step.

    Args:
        recipe: what the run is asked to do.
        run: what it has come to; changed as it goes on.
        loop: trains the model, on which nothing hangs yet.

    Raises:
        ValueError: there is no weight to prune, or they cannot be cut as asked for.
    """

    def __init__(self, recipe: Recipe, run: Run, loop: Loop) -> None:
        self._recipe, self._run = recipe, run
        shards.reshard(loop.model)
        self._known = RunTargets(recipe, run.masks, loop.model, loop.thaws)
        self._attached = OptimizerHooks.none()
        self._zeros = Zeros(self._known)
        self._shares: tuple[float, ...] = recipe.prune_at
        self._choices = Choices()
        self._shown: Removable | None = None
        self._rewind = recipe.rewind or AfterEachCut(0.0)  # where stages begin the schedule anew
        self._peak = 0.0  # of the rates, which are long
        self._noted = False  # by what weights are pressed and held

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_choices": Choices(), "_shown": None}  # a copy hangs on no loop

    @property
    def targets(self) -> Targets:
        """The weights to prune, of the model as it was last looked at."""
        return self._known.found

    @property
    def masks(self) -> masks.Masks:
        """Those of what is in the model, under the names that it has now."""
        return self._known.saved()

    # ---- training starts

    def begin(self, loop: Loop) -> None:
        """Hang on the optimizers what presses and holds.

        Raises:
            ValueError: the loop gives the run no time, or its optimizers nothing to go by.
        """
        recipe, run, small = self._recipe, self._run, self._run.strength.presses_small
        loop.begin()
        run.stages.check(loop, recipe.prune_at)
        run.stages.begin_again(loop.progress())
        steps = loop.steps()
        if not loop.is_trial:
            check_fits(recipe.prune_at, steps * run.stages.shortest)
        self._shares = as_shares(recipe.prune_at, steps)
        if not run.rates and (recipe.rewind is not None or run.stages.several):
            run.rates = self._rewind.plan(loop.planned_rates)
        self._peak = peak_of(run.rates)
        self._choices, self._shown = loop.choices(run, self._shares[-1]), loop.show(run)
        self._known.begin(loop.optimizers)
        announce(self.targets, run.chosen)
        self.hold(loop)
        run.criterion.settle(recipe.plan, recipe.penalty, run.rounds, small, loop.optimizers)
        self._attach(loop)

    def _attach(self, loop: Loop) -> None:
        self._attached.remove()
        self._run.chosen = [target.name for target in self.targets]
        run, recipe = self._run, self._recipe
        run.strength.settle(loop.optimizers, self.targets, recipe.form)
        press = partial(
            Pressure,
            targets=self.targets,
            penalty=self._known.penalty,
            strength=0.0,
            form=run.strength.form(recipe.form),
            masks=run.masks,
            default=DefaultForm(run.gradients, run.strength.limit),
        )
        self._attached = OptimizerHooks(loop.optimizers, self.targets, press, run.masks, run.steps)
        if run.phase == "press":
            run.criterion.watch(loop.model, self.targets, loop.optimizers)

    # ---- it goes on

    def begin_batch(self, loop: Loop, first_of_epoch: bool) -> None:
        """Cut what is due, and set λ and the learning rate for the coming step."""
        run = self._run
        loop.begin_batch()
        if first_of_epoch:
            self.inspect(loop)
        else:
            self._look_again(loop, thorough=False)
        if run.phase == "press" or run.stages.several or run.rates:  # else nothing is to come
            self._go_on(loop, loop.progress())
        self._zeros.begin_batch(loop)

    def _go_on(self, loop: Loop, done: float) -> None:
        """Do what is due when so much of the run is done."""
        run, at = self._run, self._recipe.prune_at
        if run.stages.waits:
            self._next_stage(loop, done)
        elif run.stages.several and run.stages.complete and run.stages.ended:
            self._go_back(loop)
            run.stages.settle()
        if run.phase == "press":
            within, steps = run.stages.within(done), sum(self._attached.steps)
            if (rounds := due(at, within, steps)) > run.rounds_done:
                self.cut(loop, rounds)
            if run.phase == "press" and self.targets:
                moment = Moment(pressed(at, within, steps), run.clock.batches, loop.passes())
                run.strength.advance(moment, self.targets, run.masks)
        self._attached.press(run.pressure)
        self.schedule(loop, done)

    def schedule(self, loop: Loop, done: float) -> None:
        """Set the learning rates of the coming step, where cuts take them back."""
        if rates := self._run.rates:
            at = done, self._run.stages.parts, self._shares, self._peak
            set_rates(loop.optimizers, rates, self._rewind.position(*at))

    def end_batch(self) -> None:
        """Count."""
        self._run.clock.end_batch()
        self._run.steps = self._attached.steps
        if not self._noted and (names := self._attached.kernels):
            self._noted = True  # what a fit begins with it goes on with
            if said := self._run.note_kernels(names):
                warn(said)

    def after_backward(self, loop: Loop) -> None:
        """Keep removed weights out of what is clipped."""
        if self._run.masks and loop.clips_gradients():
            masks.hold_gradients_(self.targets, self._run.masks)

    def cut(self, loop: Loop, rounds: int) -> None:
        """Make the cut that is due after so many rounds."""
        run = self._run
        if self.targets:  # others are frozen as yet
            cut_(run, self._known.penalty, self.targets, loop.optimizers, rounds / run.rounds)
        self.hold(loop)
        run.rounds_done = rounds
        if run.phase == "tune":
            run.release()
            if not run.stages.goes_back:
                self._choices.begin_anew(measured=False)
            loop.show_layers(report := self.count(loop.model))
            remark_on_starved(report.starved, run.masks)
            if run.stages.is_last and not run.stages.goes_back:
                remark_on(run, self._known.penalty, self.targets)

    def _next_stage(self, loop: Loop, done: float) -> None:
        """Go on from the best network so far, with all that a stage counts at its beginning."""
        self._go_back(loop)
        self._run.stages.go_on(done)
        self._begin_stage()
        self._attach(loop)

    def _begin_stage(self) -> None:
        self._run.rounds_done = 0
        self._run.strength = self._recipe.begin_strength()

    def _go_back(self, loop: Loop) -> bool:
        """Return to the best network so far; whether it was another."""
        if went := self._run.stages.go_back_(loop.model, self.targets, self._run.masks):
            for optimizer in loop.optimizers:
                optimizer.state.clear()  # its moments are those of a network that is gone
            self._run.forget()
        return went

    # ---- weights that come later, and others that are moved

    def _look_again(self, loop: Loop, thorough: bool) -> None:
        run = self._run
        if self._known.have_changed(loop.optimizers, thorough):
            cuts_to_come = run.phase == "press" or not run.stages.is_last
            run.rename(self._known.look_again(loop.optimizers, cuts_to_come))
            self._attach(loop)

    def inspect(self, loop: Loop) -> None:
        """See which weights there are, that those removed are zero, and make them so."""
        shards.reshard(loop.model)
        if self._attached:
            self._look_again(loop, thorough=True)
        else:
            self._known.follow()
        self._zeros.inspect(loop)

    def inspect_zeros(self, loop: Loop) -> None:
        """See that those removed are zero, and make them so: where nothing may be hung up anew."""
        shards.reshard(loop.model)
        self._zeros.inspect(loop)

    def begin_evaluation(self, loop: Loop) -> None:
        """A validation or test is about to show the model its first batch."""
        self.inspect(loop)
        self._zeros.begin(loop)

    def validated(self, loop: Loop, metrics: Mapping[str, Any]) -> None:
        """A validation is over: others may have had their turn, and a stage may have ended."""
        run = self._run
        answers = run.stages.validated(loop, metrics, self.masks, run.phase == "tune")
        self._choices.validated()
        if answers:
            self._choices.begin_anew(measured=True)
        self._zeros.expect_moves()

    def hold(self, loop: Loop) -> None:
        """Write the zeros into the weights, and into their running averages."""
        shards.reshard(loop.model)
        self._zeros.hold()
        loop.hold_averages(self._run.masks)

    def is_of(self, module: nn.Module) -> bool:
        """Whether a model is the one that was trained."""
        return {id(one.parameter) for one in self.targets} <= set(map(id, module.parameters()))

    def is_intact(self, module: nn.Module) -> bool:
        """Whether it is, with the weights that it was left with."""
        return self.is_of(module) and not masks.moved(self.targets, self._run.masks)

    # ---- it ends

    def end(self, loop: Loop) -> None:
        """Training is over: what is left to cut in a smoke test is cut, and all is let go."""
        run = self._run
        if run.phase == "press" and loop.is_trial:
            self.cut(loop, run.rounds)
        elif run.phase == "press" and not run.stages.several:
            left = run.rounds - run.rounds_done
            warn(f"the run ended before {left} of its cuts: train on, or cut earlier")
        if self._go_back(loop) and not run.stages.complete:
            self._begin_stage()  # trained on, it is gone through anew
        if not loop.is_trial:
            run.stages.conclude()
        self.inspect(loop)
        self.hold(loop)
        self._choices.end()
        self.close()

    def end_at_once(self, loop: Loop, was_trained: bool) -> None:
        """The run was at its end when it was taken up: training has not started."""
        self._run.masks.unpack(self.targets)
        self._go_back(loop)
        if self._run.phase == "press" and was_trained:
            warn("the run was over before pruning began: raise max_epochs, or what else ends it")

    def close(self) -> bool:
        """Take off model, optimizers and loop what hangs there; whether pressure did."""
        self._zeros.end()
        self._run.criterion.close()
        self._choices.remove()
        if self._shown is not None:
            self._shown.remove()
        return self._attached.remove()

    def count(self, module: nn.Module) -> SparsityReport:
        """What is left of the model as it is now."""
        run = self._run
        return SparsityReport.of(module, self.targets, str(run.criterion), ", ".join(run.kernels))

    def conclude(self, loop: Loop) -> SparsityReport:
        """All others are done too: what is left in the end, told to who watches."""
        self.inspect(loop)
        report, stages = self.count(loop.model), self._run.stages
        remark_on_emptied(self.targets, self._run.masks)
        if stages.goes_back:  # to a network that may not be the one that was cut last
            remark_on(self._run, self._known.penalty, self.targets)
        loop.conclude(report, told(stages.plan, stages.outcomes) if stages.outcomes else "")
        return report
