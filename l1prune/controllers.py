"""Controllers: find the strength by themselves, from the zeros that they see."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from l1prune.schedules import Linear, Schedule

Memory = tuple[float, ...]


@runtime_checkable
class Controller(Protocol):
    """Chooses the next strength from what it sees. A pure function: what it learns is passed on."""

    @property
    def checks(self) -> int:
        """How often it looks during the pressure phase."""
        ...

    def begin(self) -> Memory:
        """What it knows before the first look: plain numbers, the strength first."""
        ...

    def __call__(self, memory: Memory, zeros: float, due: float) -> Memory:
        """What it knows after a look.

        Args:
            memory: what it knew.
            zeros: share of exact zeros among the weights, now.
            due: share that was planned for now.
        """
        ...


@dataclass(frozen=True)
class Feedback:
    """Drives the strength so that the exact zeros follow a planned curve.

    A proportional-integral controller on e = log(kept / planned to keep), in log strength, so that
    it works alike at 50 % and at 99.5 % zeros, and finds λ over many orders of magnitude.

    Args:
        start: the first strength, > 0.
        path: the planned curve: share of the target that is due by the phase's progress.
        share: how much of the target the pressure makes zero; the cut takes the rest.
        checks: how often the strength is adjusted during the phase.
    """

    start: float = 0.1
    path: Schedule = field(default_factory=lambda: Linear(0.0, 1.0))
    share: float = 0.9
    checks: int = 200
    proportional: float = 1.0
    integral: float = 0.1

    def begin(self) -> Memory:
        return (self.start, 0.0)

    def __call__(self, memory: Memory, zeros: float, due: float) -> Memory:
        strength, before = memory
        error = math.log((1 - zeros + 1e-6) / (1 - due + 1e-6))
        change = self.integral * error + self.proportional * (error - before)
        return (strength * math.exp(min(max(change, -0.3), 0.3)), error)
