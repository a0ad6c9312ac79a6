"""The strength of a run: step by step, as a schedule says or a controller finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from l1prune.controllers import Controller, Follow, Memory
from l1prune.masks import caps
from l1prune.penalties import Penalty, makes_zeros
from l1prune.pressure import Form, Subgradient
from l1prune.schedules import Constant, Schedule, WarmupHoldDecay
from l1prune.targets import Target
from l1prune.thresholds import Sparsity, Threshold

Plan = Schedule | Controller


class Scheduled:
    """λ as a schedule of the pressure phase's progress; all weights are pressed."""

    def __init__(self, schedule: Schedule) -> None:
        self.value = schedule(0.0)
        self.caps: dict[str, float] = {}
        self.ease = 0.0
        self._schedule = schedule

    def advance(
        self, progress: float, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        """Set λ for the coming step."""
        self.value = self._schedule(progress)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return


class Controlled:
    """λ as a controller finds it; only weights that are due to go are pressed."""

    def __init__(self, controller: Controller, threshold: Sparsity, penalty: Penalty) -> None:
        self.caps: dict[str, float] = {}
        self.ease = controller.ease
        self._controller, self._threshold, self._penalty = controller, threshold, penalty
        self._memory: Memory = controller.begin()
        self._looks = 0

    @property
    def value(self) -> float:
        return self._memory[0]

    def advance(
        self, progress: float, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        """Let the controller look when that is due, and choose the weights to press till then."""
        look = int(progress * self._controller.looks)
        if look < self._looks:
            return
        self._looks = look + 1
        if look > 0:
            self._memory = self._controller(
                self._memory, _zeros(targets), self._due(look), look / self._controller.looks
            )
        self.ease = self._controller.ease * look / self._controller.looks
        self.caps = caps(targets, self._penalty, self._threshold, masks, self._path(look + 1))

    def _path(self, look: int) -> float:
        """How much of the cutting is due at a look."""
        return min(look / self._controller.looks / self._controller.arrive, 1.0)

    def _due(self, look: int) -> float:
        """The share of zeros that is due at a look."""
        return self._threshold.at(self._path(look))

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self._memory, "looks": self._looks, "caps": dict(self.caps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory = tuple(state["memory"])
        self._looks = state["looks"]
        self.caps = dict(state["caps"])


def _zeros(targets: Sequence[Target]) -> float:
    """Share of exact zeros among the targets."""
    left = sum(int(target.parameter.count_nonzero()) for target in targets)
    return 1 - left / sum(target.parameter.numel() for target in targets)


def as_strength(
    strength: float | Plan | None, threshold: Threshold, penalty: Penalty, form: Form
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
    if strength is None:
        strength = Follow() if steerable else WarmupHoldDecay(0.1)
    if isinstance(strength, Controller):
        if not (steerable and isinstance(threshold, Sparsity)):
            raise ValueError(
                f"strength={strength!r} steers towards a share of exact zeros: it needs a "
                f"threshold that names one, got {threshold!r}, and a penalty and form that make "
                f"them, got {penalty!r} and {form!r}; or give a number or a schedule"
            )
        return partial(Controlled, strength, threshold, penalty)
    if isinstance(strength, int | float):
        strength = Constant(float(strength))
    if not callable(strength):
        raise ValueError(
            f"strength must be a number ≥ 0, a schedule or a controller, got {strength!r}"
        )
    return partial(Scheduled, strength)
