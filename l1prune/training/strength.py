"""The strength of a run: step by step, as a schedule says or a controller finds it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer

from l1prune.checks import is_number
from l1prune.cuts.plans import Plan
from l1prune.penalties import Penalty
from l1prune.pressure.forms import Form
from l1prune.pressure.optimizers import has_length, weight_ids
from l1prune.pressure.schedules import ByPasses, Constant, Schedule
from l1prune.weights.targets import Target


class Moment(NamedTuple):
    """When: the share of the pressure phase that is done; batches, and passes over the data."""

    progress: float
    batches: int
    passes: float


class Strength(Protocol):
    """λ of one stage of a run.

    Attributes:
        value: λ of the coming step.
    """

    value: float

    limit: float = math.inf
    """The most that the default form moves a weight by in a step, as a share of lr."""

    presses_small: bool = False
    """Whether only what is small is pressed: then cuts go by size too, if nothing else is said."""

    def settle(
        self, optimizers: Sequence[Optimizer], targets: Sequence[Target], form: Form | None
    ) -> None:
        """Learn by whose steps weights are pressed, and in what form, if one was asked for."""
        return

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Set λ for the coming step."""
        ...

    def form(self, form: Form | None) -> Form | None:
        """The form in which it enters a step, given the one that was asked for, if any."""
        return form

    def release(self) -> None:
        """Let go of what is kept for the pressure: no cut is left to come."""
        return

    def rename(self, names: Mapping[str, str]) -> None:
        """Weights have other names now: by those that they had."""
        return

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return


@runtime_checkable
class Controller(Protocol):
    """Finds the strength by itself, from what it sees of the weights."""

    def begin(self, plan: Plan, penalty: Penalty, form: Form | None) -> Strength:
        """The strength of a stage that begins now.

        Raises:
            ValueError: there is nothing in these to steer by.
        """
        ...


class ScheduledStrength(Strength):
    """λ as a schedule of the pressure phase's progress."""

    def __init__(self, schedule: Schedule) -> None:
        self.value = schedule(0.0)
        self._schedule = schedule

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        self.value = self._schedule(at.progress)


class GrowingStrength(Strength):
    """λ as the passes over the data have made it grow."""

    def __init__(self, growth: ByPasses) -> None:
        self.value, self.limit = growth.after(0.0), growth.limit
        self._growth, self._limited = growth, True

    def settle(
        self, optimizers: Sequence[Optimizer], targets: Sequence[Target], form: Form | None
    ) -> None:
        pressed = {id(target.parameter) for target in targets}
        movers = [one for one in optimizers if pressed & weight_ids(one)]
        self._limited = form is None and all(map(has_length, movers))

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        self.value = self._growth.after(at.passes, limited=self._limited)


def as_strength(
    strength: float | Schedule | ByPasses | Controller,
    plan: Plan,
    penalty: Penalty,
    form: Form | None,
) -> Strength:
    """The strength of a stage that begins now, from the argument of `L1Pruning`.

    Raises:
        ValueError: it is no strength, or a controller has nothing to steer by.
    """
    given: object = strength
    if isinstance(given, Controller) and not isinstance(given, type):
        return given.begin(plan, penalty, form)
    if isinstance(given, ByPasses):
        return GrowingStrength(given)
    schedule: Any = Constant(float(given)) if is_number(given, 0) else given  # type: ignore[arg-type]
    if isinstance(schedule, type) or not callable(schedule):
        raise ValueError(
            "strength must be a finite number ≥ 0, a schedule as Linear(0, 1), or a controller as "
            f"Follow(), got {strength!r}"
        )
    _check_schedule(schedule)
    return ScheduledStrength(schedule)


def _check_schedule(schedule: Schedule) -> None:
    try:
        first: object = schedule(0.0)
    except TypeError as error:
        first = error
    if not is_number(first, 0):
        raise ValueError(
            "strength: a schedule takes the progress from 0 to 1 and returns a finite strength ≥ 0;"
            f" {schedule!r} at 0.0 gives {first!r}"
        )
