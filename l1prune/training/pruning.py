"""Pruning: a plain PyTorch loop, whoever writes it, walked through pressure, cuts and fine-tuning.

Nothing here needs Lightning: the optimizers' steps tell how far the run is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from l1prune.checks import check_same
from l1prune.cuts.criteria import Criterion
from l1prune.cuts.masks import Masks, hold_copy_
from l1prune.cuts.plans import Outcome, Plan
from l1prune.cuts.thresholds import Threshold
from l1prune.penalties import Penalty
from l1prune.pressure.forms import Form
from l1prune.pressure.schedules import ByPasses, Schedule
from l1prune.training.hooks import HoldGradients
from l1prune.training.rates import Rewind
from l1prune.training.recipe import Recipe, as_recipe
from l1prune.training.run import Run
from l1prune.training.session import Session
from l1prune.training.steps import StepClock, StepHooks, StepLoop
from l1prune.training.strength import Controller
from l1prune.weights.report import SparsityReport
from l1prune.weights.rules import Rules


class Pruning:
    """What `L1Pruning` does in a Lightning Trainer, for any other loop that steps an optimizer.

    Args:
        strength: λ, as all that follow: see `L1Pruning`.
        threshold: what is removed; by default 95 %.
        penalty: what presses.
        prune_at: when the last cut is made, or all of them.
        targets: which weights.
        form: how the penalty enters a step.
        rewind: where on its schedule the learning rate goes back to after a cut; `HoldPeak()`.
        criterion: what a weight is worth.

    Raises:
        ValueError: an argument makes no sense.

    >>> import torch; from l1prune import Sparsity
    >>> model = nn.Linear(20, 5)
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    >>> x, y = torch.randn(64, 20), torch.randn(64, 5)
    >>> pruning = Pruning(threshold=Sparsity(0.9))
    >>> with pruning.attached(model, optimizer, steps=100, steps_per_pass=10) as run:
    ...     for _ in range(100):
    ...         loss = (model(x) - y).square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> int(model.weight.count_nonzero()), run.phase, run.report.sparsity
    (10, 'tune', 0.9)
    """

    def __init__(  # noqa: PLR0913  # one for each socket
        self,
        strength: float | Schedule | ByPasses | Controller | None = None,
        threshold: float | Threshold | Plan | None = None,
        penalty: Penalty | None = None,
        prune_at: int | float | Sequence[int] | Sequence[float] | None = None,
        targets: Rules | None = None,
        form: Form | None = None,
        rewind: float | Rewind | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        self.recipe = as_recipe(
            strength, threshold, penalty, prune_at, targets, form, rewind, criterion
        )

    def attached(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer],
        steps: int,
        steps_per_pass: int | None = None,
        schedulers: LRScheduler | Sequence[LRScheduler] = (),
        clips: bool = False,
        steps_per_validation: int | None = None,
    ) -> PruningRun:
        """Begin a run, which ends with the block that it is the context of, or by its `end`.

        From here on all happens in the optimizers' steps.

        Args:
            model: as it is, before whatever wraps it to be compiled or spread over processes.
            optimizers: one or several, as the loop steps them: wrapped, if something wraps them.
            steps: how many steps they take from now on, all together, ≥ 1. The phases are shares
                of that.
            steps_per_pass: how many of them make a pass over the training data, ≥ 1: by it λ
                grows, if nothing else is said of `strength`.
            schedulers: torch's schedulers of the learning rate, each stepped once after each step
                of its optimizer. With `rewind`, and with a threshold in stages, the rates that
                they plan are set before each step; without, they are left alone.
            clips: whether the loop clips gradients: then those of removed weights are zero after
                each backward pass, so that they use up nothing of what clipping allows.
            steps_per_validation: how many steps lie between two validations: for thresholds in
                stages, as `Budget`, which then have to be told of each by the run's `validated`.

        Raises:
            ValueError: the run is too short, nothing says how long a pass or a schedule is, or the
                recipe does not fit model and optimizers.
        """
        every = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        planned = [schedulers] if isinstance(schedulers, LRScheduler) else list(schedulers)
        loop = StepLoop(model, every, steps, steps_per_pass, planned, clips, steps_per_validation)
        loop.check(self.recipe)
        return PruningRun(self.recipe, loop)


class PruningRun:
    """A run of pruning in a loop of one's own, from `Pruning.attached`.

    A step of an optimizer is pressed, and followed by the zeros. A batch is over when each
    optimizer has stepped, or one steps again: right then, before the next forward pass, is cut
    what is due. All of it is as if a Trainer trained the same batches.

    Args:
        recipe: what is to be done.
        loop: what trains.
    """

    def __init__(self, recipe: Recipe, loop: StepLoop) -> None:
        self._recipe, self._loop = recipe, loop
        self._metrics: Mapping[str, Any] | None = None  # of a validation since the last step
        self._stepped: set[int] = set()
        self._begin(Run.of(recipe, loop.clock))

    # ---- what it has come to

    @property
    def phase(self) -> str:
        """`"press"` until the last cut of a stage, `"tune"` after it."""
        return self._run.phase

    @property
    def strength(self) -> float:
        """λ of the coming step."""
        return self._run.pressure

    @property
    def steps(self) -> int:
        """How many were taken, of all optimizers together; skipped ones are none."""
        return self._loop.clock.steps

    @property
    def masks(self) -> Masks:
        """What stays: a mask for each weight that was cut, by its name."""
        return self._session.masks

    @property
    def outcomes(self) -> list[Outcome]:
        """What the stages came to that have ended, where the threshold has stages."""
        return self._run.stages.outcomes

    @property
    def arrived(self) -> bool:
        """Whether the network is what the run is for so far: cut, and what the plan answers."""
        return self._run.arrived

    @property
    def report(self) -> SparsityReport:
        """Exact counts of the model as it is now."""
        return self._session.count(self._loop.model)

    # ---- what a loop may tell

    def validated(self, metrics: Mapping[str, Any]) -> None:
        """Tell what a validation came to; `Budget` and `SparsityPath` need it, others do not.

        The first one at the end of a stage, or after it, ends the stage: then the model goes back
        to the network that the next one begins with. So validate between two steps, the last time
        after the last step, before the run ends.

        Args:
            metrics: numbers, or tensors of one element, by name.

        Raises:
            ValueError: there is none of the name that the threshold goes by.
        """
        self._session.validated(self._loop, metrics)
        self._metrics = metrics
        if self._run.stages.ended:
            self._metrics = None
            self._session.begin_batch(self._loop, first_of_epoch=True)
            self._hold_gradients()

    def hold(self, copy: nn.Module | None = None) -> None:
        """Write the zeros into the model now, or into a copy of it, as an average of its weights.

        An average takes part in no step: once after the last cut, or before it is used, is enough.

        Args:
            copy: a module with the parameters of the model by the same names; an `AveragedModel`.
        """
        if copy is None:
            self._session.hold(self._loop)
        else:
            hold_copy_(copy.module if isinstance(copy, AveragedModel) else copy, self.masks)

    def state_dict(self) -> dict[str, Any]:
        """All that the run has come to, the random generators too: tensors and plain types."""
        state = {"arguments": self._recipe.words, **self._run.state_dict()}
        return state | {"masks": self._session.masks.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a run was when it gave this state, after model and optimizers do.

        Raises:
            ValueError: it is of a run with other arguments.
        """
        check_same(self._recipe.words, state.get("arguments", {}))
        self._let_go()
        self._loop.clock = StepClock()
        run = Run.of(self._recipe, self._loop.clock)
        run.load_state_dict(state)
        self._begin(run)
        run.randomness.restore_again()
        run.randomness.go_on()

    # ---- it goes on by steps

    def _begin(self, run: Run) -> None:
        self._run = run
        self._session = Session(self._recipe, run, self._loop)
        self._session.begin(self._loop)
        self._gradients = HoldGradients((), {})
        self._hooks = StepHooks(self._loop.optimizers, self._before, self._after)
        self._session.begin_batch(self._loop, first_of_epoch=True)
        self._hold_gradients()

    def _before(self) -> None:
        self._metrics = None
        self._session.schedule(self._loop, self._loop.progress())  # schedulers may have stepped
        if self._loop.begins_pass:
            self._session.inspect_zeros(self._loop)

    def _after(self, optimizer: Optimizer) -> None:
        self._loop.clock.steps += 1
        again = id(optimizer) in self._stepped
        self._stepped.add(id(optimizer))
        if again or len(self._stepped) >= len(self._loop.optimizers):
            self._stepped.clear()
            self._session.end_batch()
            self._session.begin_batch(self._loop, first_of_epoch=self._loop.begins_pass)
            self._hold_gradients()

    def _hold_gradients(self) -> None:
        if self._loop.clips_gradients() and self._gradients.targets is not self._session.targets:
            self._gradients.remove()
            self._gradients = HoldGradients(self._session.targets, self._run.masks)

    # ---- it ends

    def end(self) -> None:
        """The run is over: take off what hangs on model and optimizers; the zeros stay."""
        if not self._loop.is_over:
            self._loop.is_over = True
            if self._metrics is not None:
                self._session.validated(self._loop, self._metrics)
            self._session.end(self._loop)
            self._let_go()

    def close(self) -> None:
        """The run is broken off: take off what hangs on model and optimizers; the zeros stay."""
        if not self._loop.is_over:
            self._loop.is_over = True
            self._let_go()
            # It may have come between a step, or a cut, and the zeros.
            self._session.hold(self._loop)

    def _let_go(self) -> None:
        self._hooks.remove()
        self._gradients.remove()
        self._session.close()

    def __enter__(self) -> PruningRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.end()
        else:
            self.close()
