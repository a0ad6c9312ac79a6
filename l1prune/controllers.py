"""Controllers: find the strength by themselves, from the zeros that they see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Memory = tuple[float, ...]


@runtime_checkable
class Controller(Protocol):
    """Chooses the strength from what it sees. A pure function: what it has learned is passed on.

    Under a controller the pressure is *trimmed*: at each look the threshold says which weights it
    would cut if as much were due as is planned for now, and only those are pressed. What will stay
    is not shrunk, so that the pressure can be strong without biasing it.
    Source: Bertsimas, Copenhaver & Mazumder, "The trimmed lasso: sparsity and robustness", 2017.
    """

    @property
    def looks(self) -> int:
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
class Follow(Controller):
    """Drives the strength so that the exact zeros follow the threshold's planned path.

    An integral controller in log strength: e = log(kept / planned to keep), λ ← λ·exp(gain·e),
    by at most `leap` a look. Logarithms make it work alike at 50 % and at 99.5 % zeros, and find λ
    from many orders of magnitude away.

    Args:
        start: the first strength, > 0.
        looks: how often the strength is adjusted, and the weights to press are chosen anew.
        gain: how fast the strength follows the error.
        leap: the largest factor of one adjustment.

    >>> follow = Follow(start=1.0)
    >>> too_few, enough = follow((1.0,), zeros=0.2, due=0.6), follow((1.0,), zeros=0.6, due=0.6)
    >>> too_few[0] > 1.0, enough[0] == 1.0
    (True, True)
    """

    start: float = 1.0
    looks: int = 50
    gain: float = 0.5
    leap: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start > 0):
            raise ValueError(f"start must be a strength > 0 to begin with, got {self.start!r}")

    def begin(self) -> Memory:
        return (self.start,)

    def __call__(self, memory: Memory, zeros: float, due: float) -> Memory:
        error = math.log((1 - zeros + 1e-6) / (1 - due + 1e-6))
        most = math.log(self.leap)
        return (memory[0] * math.exp(min(max(self.gain * error, -most), most)),)
