"""Controllers: find the strength by themselves, from the zeros that they see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from l1prune.checks import is_number, is_whole

Memory = tuple[float, ...]


@runtime_checkable
class Controller(Protocol):
    """Chooses the strength from what it sees. A pure function: what it has learned is passed on.

    Under a controller the pressure is *trimmed*: at each look the threshold says which weights it
    would cut if as much were due as is planned for now, and those are pressed in full. What will
    stay is hardly shrunk, so that the pressure can be strong without biasing it.
    Source: Bertsimas, Copenhaver & Mazumder, "The trimmed lasso: sparsity and robustness", 2017.
    """

    @property
    def looks(self) -> int:
        """How often it looks during the pressure phase."""
        ...

    @property
    def arrive(self) -> float:
        """At which share of the phase all that the threshold will cut is due."""
        ...

    @property
    def ease(self) -> float:
        """The share of the strength that presses what is due to stay."""
        ...

    @property
    def settle(self) -> int:
        """The batches over which that share grows from 0."""
        ...

    def begin(self) -> Memory:
        """What it knows before the first look: plain numbers, the strength first."""
        ...

    def __call__(self, memory: Memory, missing: float, progress: float) -> Memory:
        """What it knows after a look.

        Args:
            memory: what it knew.
            missing: of the weights that were due to be zero by now, the share that is not.
            progress: how much of the pressure phase is done.
        """
        ...


@dataclass(frozen=True)
class Follow(Controller):
    """Finds the least strength at which the exact zeros follow the planned path.

    Of the weights that are due to be zero by now a share m is not; λ ← λ·(m/slack)^¼, at most
    doubled, and eased by at most 10 %, or halved when none is missing. In logarithms, it finds λ
    from many orders of magnitude away; and since only what is due is pressed in full, too strong a
    start makes zeros early, but not too many.

    Args:
        start: the first strength, > 0.
        slack: the share of the due weights that may be missing at first; a tenth of it at the end.
        ease: the share of the strength that presses what is due to stay, in [0, 1].
        settle: the batches over which this share grows from 0: weights that have not found their
            size yet do not gain from being pressed, and a short run is over by then.
        looks: how often the strength is adjusted, and the weights to press are chosen anew.
        arrive: at which share of the phase everything is due, in (0, 1]; the rest is for the last
            stragglers.

    >>> follow = Follow()
    >>> [follow((1.0,), missing=m, progress=0.5)[0] for m in (0.9, 1e-3, 0.0)]
    [2.0, 0.9, 0.5]
    """

    start: float = 1.0
    slack: float = 0.03
    ease: float = 0.1
    settle: int = 3000
    looks: int = 50
    arrive: float = 0.95

    def __post_init__(self) -> None:
        for name, most in (("start", math.inf), ("slack", 1), ("arrive", 1)):
            value = getattr(self, name)
            if not is_number(value, 0, most) or value == 0:
                raise ValueError(f"{name} must be above 0 and at most {most}, got {value!r}")
        if not is_number(self.ease, 0, 1):
            raise ValueError(f"ease must be a share between 0 and 1, got {self.ease!r}")
        for name in ("settle", "looks"):
            if not is_whole(getattr(self, name), 1):
                raise ValueError(f"{name} must be a whole number ≥ 1, got {getattr(self, name)!r}")

    def begin(self) -> Memory:
        return (self.start,)

    def __call__(self, memory: Memory, missing: float, progress: float) -> Memory:
        if missing == 0:
            return (memory[0] / 2,)
        slack = self.slack * (1 - 0.9 * min(progress / self.arrive, 1.0))
        factor = (missing / slack) ** 0.25
        return (memory[0] * min(max(factor, 0.9), 2.0),)
