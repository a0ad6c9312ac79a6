"""The strength of a run: step by step, as a schedule says or a controller finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from l1prune.checks import is_number
from l1prune.cuts.masks import Masks, cut, pack_all, unpack_all
from l1prune.cuts.plans import Stages
from l1prune.cuts.thresholds import Sparsity, Threshold
from l1prune.penalties import Penalty, makes_zeros
from l1prune.pressure.controllers import Controller, Memory
from l1prune.pressure.forms import Form, Subgradient
from l1prune.pressure.schedules import Constant, Schedule
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target

Plan = Schedule | Controller


@dataclass(frozen=True)
class ByPasses:
    """λ grows with the square of the passes over the data, up to `most` after `passes` of them.

    L1 pressure helps where a network would learn its data by heart. It cannot in the first pass,
    in which all is new and pressure only holds learning back: a λ on which a small network thrives
    through fifty passes ruins a language model that makes two.

    Args:
        most: the largest λ, ≥ 0.
        passes: over the training data until it is reached, > 0.

    >>> [ByPasses()(passes) for passes in (0, 1.5, 3, 60)]
    [0.0, 2.5e-05, 0.0001, 0.0001]
    """

    most: float = 1e-4
    passes: float = 3.0

    def __post_init__(self) -> None:
        if not is_number(self.most, 0) or not is_number(self.passes, 0) or self.passes == 0:
            raise ValueError(
                "strength: ByPasses takes a finite most ≥ 0 and passes > 0, got "
                f"most={self.most!r}, passes={self.passes!r}"
            )

    def __call__(self, passes: float) -> float:
        """λ after so many passes."""
        return round(self.most * min(passes / self.passes, 1.0) ** 2, 15)


@dataclass(frozen=True)
class Moment:
    """When: the share of the pressure phase that is done; batches, and passes over the data."""

    progress: float
    batches: int
    passes: float


class Scheduled:
    """λ as a schedule of the pressure phase's progress; all weights are pressed."""

    def __init__(self, schedule: Schedule) -> None:
        self.value = schedule(0.0)
        self.spared: Masks = {}
        self.ease = 0.0
        self._schedule = schedule

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Set λ for the coming step."""
        self.value = self._schedule(at.progress)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return


class Grown(Scheduled):
    """λ as the passes over the data have made it grow; all weights are pressed."""

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Set λ for the coming step."""
        self.value = self._schedule(at.passes)


class Controlled:
    """λ as a controller finds it; weights that are due to stay are spared."""

    def __init__(self, controller: Controller, threshold: Sparsity, penalty: Penalty) -> None:
        self.spared: Masks = {}
        self.ease = controller.ease
        self._controller, self._threshold, self._penalty = controller, threshold, penalty
        self._memory: Memory = controller.begin()
        self._looks = 0
        self._packed: dict[str, Tensor] = {}

    @property
    def value(self) -> float:
        return self._memory[0]

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Let the controller look, when that is due, and choose anew which weights to spare."""
        if self._packed:
            self.spared, self._packed = unpack_all(self._packed, targets), {}
        look = int(at.progress * self._controller.looks)
        if look < self._looks:
            return
        self._looks = look + 1
        if look > 0:
            self._memory = self._controller(self._memory, self._missing(targets), at.progress)
        self.ease = self._controller.ease * min(at.batches / self._controller.settle, 1.0)
        ahead = min((look + 1) / self._controller.looks / self._controller.arrive, 1.0)
        self.spared = cut(targets, self._penalty, self._threshold, masks, ahead)

    @torch.no_grad()
    def _missing(self, targets: Sequence[Target]) -> float:
        """The share of the weights due to go that is not zero yet."""
        weights = [target.parameter for target in targets]
        goes = [~local(self.spared[target.name]) for target in targets]
        counts = [
            torch.stack([go.sum(), (go & (local(w) != 0)).sum()])
            for go, w in zip(goes, weights, strict=True)
        ]
        due, missing = over_shards(counts, weights).sum(0).tolist()
        return float(missing / max(due, 1))

    def state_dict(self) -> dict[str, Any]:
        state = {"memory": self._memory, "looks": self._looks, "ease": self.ease}
        return state | {"spared": self._packed or pack_all(self.spared)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory = tuple(state["memory"])
        self._looks, self.ease = state["looks"], state["ease"]
        self._packed = state["spared"]


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


def as_strength(
    strength: float | Plan | ByPasses,
    threshold: Threshold | Stages,
    penalty: Penalty,
    form: Form | None,
) -> Callable[[], Scheduled | Controlled]:
    """What makes the strength of a run, from the argument of `L1Pruning`.

    Raises:
        ValueError: it is no strength, or a controller has nothing to steer by.
    """
    steerable = (
        isinstance(threshold, Sparsity)
        and makes_zeros(penalty)
        and not isinstance(form, Subgradient)
    )
    if isinstance(strength, Controller):
        if not (steerable and isinstance(threshold, Sparsity)):
            raise ValueError(
                f"strength={strength!r} steers towards a share of exact zeros: it needs a "
                f"threshold that names one, got {threshold!r}, and a penalty and form that make "
                f"them, got {penalty!r} and {form!r}; or give a number or a schedule"
            )
        return partial(Controlled, strength, threshold, penalty)
    if isinstance(strength, ByPasses):
        return partial(Grown, strength)
    if is_number(strength, 0):
        strength = Constant(float(strength))  # type: ignore[arg-type]
    if isinstance(strength, type) or not callable(strength):
        raise ValueError(
            "strength must be a finite number ≥ 0, a schedule as Linear(0, 1), or a controller as "
            f"Follow(), got {strength!r}"
        )
    _check_schedule(strength)
    return partial(Scheduled, strength)
