"""The strength of a run: step by step, as a schedule says or a controller finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from l1prune.arguments import is_number
from l1prune.controllers import Controller, Memory
from l1prune.forms import Form, Subgradient
from l1prune.masks import Masks, cut, pack_all, unpack_all
from l1prune.penalties import Penalty, makes_zeros
from l1prune.schedules import Constant, Schedule
from l1prune.shards import local, over_shards
from l1prune.stages import Stages
from l1prune.targets import Target
from l1prune.thresholds import Sparsity, Threshold

Plan = Schedule | Controller


@dataclass(frozen=True)
class PerWeight:
    """λ = amount / n for n weights under pressure: loss + amount · mean|w|.

    In a network with more weights each has less to say to the loss, its gradient is smaller, and
    less pressure overcomes it: a λ that a small network thrives on ruins a large one.

    Args:
        amount: ≥ 0.

    >>> PerWeight(-1)
    Traceback (most recent call last):
    ValueError: strength: PerWeight takes a finite amount ≥ 0, got -1
    """

    amount: float

    def __post_init__(self) -> None:
        if not is_number(self.amount, 0):
            raise ValueError(f"strength: PerWeight takes a finite amount ≥ 0, got {self.amount!r}")


class Scheduled:
    """λ as a schedule of the pressure phase's progress; all weights are pressed."""

    def __init__(self, schedule: Schedule) -> None:
        self.value = schedule(0.0)
        self.spared: Masks = {}
        self.ease = 0.0
        self._schedule = schedule

    def advance(
        self, progress: float, step: int, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        """Set λ for the coming step."""
        self.value = self._schedule(progress)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return


class Shared(Scheduled):
    """λ as an amount that all weights share."""

    def __init__(self, share: PerWeight) -> None:
        super().__init__(Constant(0.0))
        self._amount = share.amount

    def advance(
        self, progress: float, step: int, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        """Set λ for the coming step."""
        self.value = self._amount / max(sum(t.parameter.numel() for t in targets), 1)


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

    def advance(
        self, progress: float, step: int, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        """Let the controller look, when that is due, and choose anew which weights to spare."""
        if self._packed:
            self.spared, self._packed = unpack_all(self._packed, targets), {}
        look = int(progress * self._controller.looks)
        if look < self._looks:
            return
        self._looks = look + 1
        if look > 0:
            self._memory = self._controller(self._memory, self._missing(targets), progress)
        self.ease = self._controller.ease * min(step / self._controller.settle, 1.0)
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
    strength: float | Plan | PerWeight,
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
    if isinstance(strength, PerWeight):
        return partial(Shared, strength)
    if is_number(strength, 0):
        strength = Constant(float(strength))  # type: ignore[arg-type]
    if isinstance(strength, type) or not callable(strength):
        raise ValueError(
            "strength must be a finite number ≥ 0, a schedule as Linear(0, 1), or a controller as "
            f"Follow(), got {strength!r}"
        )
    _check_schedule(strength)
    return partial(Scheduled, strength)
