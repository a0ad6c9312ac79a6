"""Steps: a plain PyTorch loop as a run sees it, from the steps of its optimizers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.hooks import RemovableHandle

from l1prune.checks import is_whole
from l1prune.cuts.plans import Plan
from l1prune.pressure.optimizers import hooked, innermost, was_skipped
from l1prune.pressure.schedules import ByPasses
from l1prune.training.loop import Choices, Standing
from l1prune.training.rates import Rates, recorded
from l1prune.training.recipe import Recipe
from l1prune.training.stages import check_often, goes_by_validations
from l1prune.weights.report import SparsityReport


class StepClock:
    """Counts the steps of a run.

    Attributes:
        batches: after each of which all optimizers had stepped.
        steps: of all optimizers together; those that a gradient scaler skips are none.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.steps = 0

    def end_batch(self) -> None:
        """A batch was trained."""
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class StepLoop:
    """A loop of which nothing is known but the model, the optimizers, and how long it is.

    Args:
        model: what is trained.
        optimizers: those that move its weights.
        length: how many steps they take in the whole run, all together.
        per_pass: how many of them make a pass over the data; None: all of the run is one.
        schedulers: of the learning rates, each stepped once after each step of its optimizer.
        clips: whether gradients are clipped.
        per_validation: how many steps lie between two validations; None: there is none.

    Attributes:
        clock: of the run.
        is_over: whether no step is to come.

    Raises:
        ValueError: there is no optimizer, or a length is none.

    >>> import torch
    >>> model = nn.Linear(1, 1)
    >>> loop = StepLoop(model, [torch.optim.SGD(model.parameters())], length=100, per_pass=20)
    >>> loop.clock.steps = 30
    >>> loop.progress(), loop.passes()
    (0.3, 1.5)
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    length: int
    per_pass: int | None = None
    schedulers: Sequence[LRScheduler] = ()
    clips: bool = False
    per_validation: int | None = None
    clock: StepClock = field(default_factory=StepClock)
    is_over: bool = False

    is_trial = False
    thaws = False

    def __post_init__(self) -> None:
        if not self.optimizers or not all(isinstance(one, Optimizer) for one in self.optimizers):
            raise ValueError(
                f"optimizers must be an optimizer of torch, or several, got {self.optimizers!r}"
            )
        if not is_whole(self.length, 1):
            raise ValueError(
                "steps must be a whole number ≥ 1, as epochs * len(loader): how many steps the "
                f"optimizers take in all; got {self.length!r}"
            )
        for name, given in (("pass", self.per_pass), ("validation", self.per_validation)):
            if given is not None and not is_whole(given, 1):
                raise ValueError(
                    f"steps_per_{name} must be a whole number ≥ 1, as len(loader): how many steps "
                    f"the optimizers take from one {name} to the next; got {given!r}"
                )

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe for which too little is known of the loop.

        Raises:
            ValueError: it goes by passes, or by a schedule, and there is none.
        """
        if self.per_pass is None and isinstance(recipe.strength, ByPasses):
            raise ValueError(
                f"strength={recipe.strength!r} grows by passes over the data: say how long one is, "
                "as steps_per_pass=len(loader), or give strength a number"
            )
        if recipe.rewind is not None and not self.schedulers:
            raise ValueError(
                f"rewind={recipe.rewind!r} takes the learning rate back on its schedule: give the "
                "one that the loop steps, as schedulers=scheduler"
            )

    @property
    def begins_pass(self) -> bool:
        """Whether the coming step is the first of a pass over the data."""
        return self.clock.steps % (self.per_pass or self.length) == 0

    def begin(self) -> None:
        return

    def begin_batch(self) -> None:
        return

    def progress(self) -> float:
        return min(self.clock.steps / self.length, 1.0)

    def passes(self) -> float:
        return self.clock.steps / (self.per_pass or self.length)

    def steps(self) -> float:
        return float(self.length)

    def validations_left(self) -> float:
        if self.is_over or self.per_validation is None:
            return 0.0
        return float(self.length // self.per_validation - self.clock.steps // self.per_validation)

    def check_stages(self, plan: Plan, shortest: float) -> None:
        if self.per_validation is None:
            raise ValueError(
                f"{goes_by_validations(plan)} nothing is known of the loop's: tell how many steps "
                "lie between two, as steps_per_validation=len(loader), and after each what it came "
                "to, as run.validated({'val/loss': loss})"
            )
        check_often(plan, shortest, self.length, self.per_validation, "steps")

    def planned_rates(self) -> Rates:
        each = self.length // len(self.optimizers)
        return recorded(self.optimizers, [(one, each) for one in self.schedulers])

    def choices(self, run: Standing, last: float) -> Choices:
        return Choices()

    def clips_gradients(self) -> bool:
        return self.clips

    def hold_averages(self, masks: Mapping[str, Tensor]) -> None:
        return  # nobody knows of them here: see `PruningRun.hold`

    def moves_by_steps_alone(self) -> bool:
        return True  # and what else does is looked for once a pass

    def before_steps(self, act: Callable[[bool], None]) -> None:
        return None

    def suspects(self) -> list[str]:
        return []

    def show(self, run: Standing) -> None:
        return None

    def show_layers(self, report: SparsityReport) -> None:
        return

    def conclude(self, report: SparsityReport, told: str) -> None:
        return


class StepHooks:
    """Tells of the steps of optimizers, once all else that hangs on these has acted.

    What it calls may change what hangs on them: its own hook is the last that torch calls.

    Args:
        optimizers: to be hooked.
        before: called before each step.
        after: called after each step that was not skipped, with the optimizer.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        before: Callable[[], None],
        after: Callable[[Optimizer], None],
    ) -> None:
        self._before, self._after = before, after
        self._last: dict[int, RemovableHandle] = {}
        found = [one for optimizer in optimizers for one in hooked(optimizer)]
        self._handles = [one.register_step_pre_hook(self._begin) for one in found]

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._before()
        if id(optimizer) in self._last:
            self._last[id(optimizer)].remove()
        # Anew for each step, so that it comes after what was hung there since.
        self._last[id(optimizer)] = optimizer.register_step_post_hook(self._end)

    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not any(map(was_skipped, innermost(optimizer))):
            self._after(optimizer)

    def remove(self) -> None:
        """Let the optimizers go."""
        for handle in (*self._handles, *self._last.values()):
            handle.remove()
        self._handles, self._last = [], {}
