"""Rounds: when cuts are due, as shares of the run or optimizer steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


class Rounds(tuple[float, ...]):
    """When cuts are due; a type by which configuration files know `rounds` and `once`."""

    __slots__ = ()


MANY = 50
"""Rounds that make each cut small; one cut in their place costs many points of accuracy."""


def rounds(start: float, stop: float, count: int) -> Rounds:
    """Evenly spaced shares of the run, for `L1Pruning(prune_at=rounds(0.1, 0.6, 20))`.

    Raises:
        ValueError: these are no shares that rise, or a single round.

    >>> rounds(0.2, 0.6, 3)
    (0.2, 0.4, 0.6)
    """
    if not (0 < start < stop < 1 and count >= 2):
        raise ValueError(
            f"rounds(start={start}, stop={stop}, count={count}): needs 0 < start < stop < 1, "
            "shares of the run, and at least two rounds"
        )
    step = (stop - start) / (count - 1)
    return Rounds(round(start + index * step, 9) for index in range(count))


def once(at: float) -> Rounds:
    """A single cut, for `L1Pruning(prune_at=once(0.5))`: after a share of the run, or at a step.

    Raises:
        ValueError: it is neither a share between 0 and 1 nor an optimizer step.

    >>> once(0.5), once(200)
    ((0.5,), (200,))
    """
    if not (_is_share(at) or _is_step(at)):
        raise ValueError(
            f"once(at={at!r}): needs a share of the run between 0 and 1, or an optimizer step ≥ 1"
        )
    return Rounds((at,))


def up_to(last: float, count: int = MANY) -> tuple[float, ...]:
    """Rounds of which the last is given, and the first comes when a sixth of that time has gone.

    So that what is left learns first, and goes little by little: 0.6 is `rounds(0.1, 0.6, 50)`, and
    an earlier or a later last cut has the same rounds in less or more time.

    Args:
        last: a share of the run, or an optimizer step; then the others are steps too.
        count: how many, or as many as there are steps.

    >>> up_to(0.6, count=3), up_to(600, count=3), up_to(2)
    ((0.1, 0.35, 0.6), (100, 350, 600), (1, 2))
    """
    if not isinstance(last, int):
        return rounds(last / 6, last, count)
    steps = (last * (1 + 5 * index / (count - 1)) / 6 for index in range(count))
    return tuple(sorted({max(round(step), 1) for step in steps}))


def as_rounds(prune_at: float | Sequence[float], gradual: bool) -> tuple[float, ...]:
    """`prune_at` as rising shares of the run, or rising optimizer steps.

    Args:
        prune_at: several of either, or the last of them.
        gradual: whether what is cut may be cut in many rounds: a number alone is then the last.

    Raises:
        ValueError: it is neither.

    >>> as_rounds(0.6, gradual=False), as_rounds([100, 200], gradual=True)
    ((0.6,), (100, 200))
    >>> as_rounds(0.6, gradual=True) == rounds(0.1, 0.6, 50)
    True
    """
    several = isinstance(prune_at, Sequence) and not isinstance(prune_at, str | bytes)
    given: tuple[Any, ...] = tuple(prune_at) if several else (prune_at,)  # type: ignore[arg-type]
    right = given and (all(map(_is_share, given)) or all(map(_is_step, given)))
    if right and gradual and not several:
        given = up_to(given[0])
    if not right or any(a >= b for a, b in pairwise(given)):
        raise ValueError(
            "prune_at must be a share of the run between 0 and 1, an optimizer step ≥ 1, or a "
            f"rising list of either, got {prune_at!r}; 0.6 makes the last cut after 60 % of the run"
        )
    return given


def _is_share(at: object) -> bool:
    return isinstance(at, float) and 0 < at < 1


def _is_step(at: object) -> bool:
    return isinstance(at, int) and not isinstance(at, bool) and at >= 1


def due(at: Sequence[float], share: float, steps: int) -> int:
    """How many rounds are due when this share of a stage is done, and so many steps of the run.

    >>> due((0.2, 0.4), share=0.3, steps=10), due((5, 20), share=0.3, steps=10)
    (1, 1)
    """
    return bisect_right(at, steps if isinstance(at[0], int) else share)


def pressed(at: Sequence[float], share: float, steps: int) -> float:
    """How much of the time until the last round has gone, in [0, 1].

    >>> pressed((0.2, 0.4), share=0.2, steps=10), pressed((5, 20), share=0.3, steps=10)
    (0.5, 0.5)
    """
    last = at[-1]
    return min((steps if isinstance(last, int) else share) / last, 1.0)


def as_shares(at: Sequence[float], steps: float) -> tuple[float, ...]:
    """Rounds as shares of a run, or of a stage, of so many steps.

    >>> as_shares((100, 200), steps=400.0)
    (0.25, 0.5)
    """
    return tuple(one / steps if isinstance(one, int) else one for one in at)


def check_fits(at: Sequence[float], steps: float) -> None:
    """Refuse rounds that do not fit a run, or its shortest stage, of so many steps.

    Raises:
        ValueError: it is too short for a step of pressure before the last cut and one of
            fine-tuning after it.
    """
    if math.isinf(steps):
        return  # it will be seen
    last = as_shares(at, steps)[-1]
    if last >= 1 or math.ceil(last * steps) >= steps or last * steps < 1:
        raise ValueError(
            f"prune_at={at[-1]} does not fit a run of {steps:.0f} steps: it needs at least "
            "one step under pressure before the cut and one of fine-tuning after it; train longer, "
            "or give an earlier share of the run between 0 and 1"
        )
