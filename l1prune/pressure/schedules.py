"""Strength over a run: functions of progress, from 0 (its first step) to 1 (its last).

A schedule is any ``Callable[[float], float]``; those here are frozen dataclasses, so that they can
be compared, hashed and pickled, which closures cannot. None knows about steps, epochs or time: what
measures progress stays with the caller. Progress a rounding error outside [0, 1] counts as 0 or 1.

`ByPasses` is none of them: it goes by the passes over the data, which is how long a network has had
to learn them, however long the run is to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from l1prune.checks import check_object, is_number

Schedule = Callable[[float], float]


def _clamped(progress: float) -> float:
    if math.isnan(progress):
        raise ValueError("progress=nan: a schedule needs a number from 0 (start) to 1 (end).")
    return min(max(progress, 0.0), 1.0)


def _check_strengths(schedule: object, *names: str) -> None:
    for name in names:
        value = getattr(schedule, name)
        if not is_number(value, 0):
            raise ValueError(
                f"{type(schedule).__name__}({name}={value}): a strength must be finite and ≥ 0; "
                "0 is no pressure."
            )


@dataclass(frozen=True)
class Constant:
    """The same strength throughout.

    Args:
        value: The strength, ≥ 0.

    Raises:
        ValueError: ``value`` is negative, infinite or NaN.

    >>> Constant(1e-4)(0.3)
    0.0001
    """

    value: float

    def __post_init__(self) -> None:
        _check_strengths(self, "value")

    def __call__(self, progress: float) -> float:
        _clamped(progress)
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line: start + (end − start)·p.

    Args:
        start: Strength at progress 0, ≥ 0.
        end: Strength at progress 1, ≥ 0.

    Raises:
        ValueError: A strength is negative, infinite or NaN.

    >>> Linear(0.0, 1.0)(0.25)
    0.25
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_strengths(self, "start", "end")

    def __call__(self, progress: float) -> float:
        p = _clamped(progress)
        return (1 - p) * self.start + p * self.end  # both ends exact


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave, level at both ends: end + (start − end)·(1 + cos πp)/2.

    Args:
        start: Strength at progress 0, ≥ 0.
        end: Strength at progress 1, ≥ 0.

    Raises:
        ValueError: A strength is negative, infinite or NaN.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    >>> round(Cosine(0.0, 1.0)(0.25), 4)
    0.1464
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_strengths(self, "start", "end")

    def __call__(self, progress: float) -> float:
        left = (1 + math.cos(math.pi * _clamped(progress))) / 2
        return left * self.start + (1 - left) * self.end


@dataclass(frozen=True)
class Cubic:
    """Fast at first, level at the end: end + (start − end)·(1 − p)³.

    Args:
        start: Strength (or sparsity) at progress 0, ≥ 0.
        end: Strength (or sparsity) at progress 1, ≥ 0.

    Raises:
        ValueError: A strength is negative, infinite or NaN.

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, eq. 1, there for sparsity.

    >>> Cubic(0.0, 1.0)(0.5)
    0.875
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_strengths(self, "start", "end")

    def __call__(self, progress: float) -> float:
        left = (1 - _clamped(progress)) ** 3
        return left * self.start + (1 - left) * self.end


@dataclass(frozen=True)
class WarmupHoldDecay:
    """A trapezium: from 0 up to the peak, along it, and, if asked, down to 0 again.

    Early pressure on weights that have not found their size yet kills at random, hence the warm-up.

    Args:
        peak: The strength held, ≥ 0.
        warmup: Share of the run spent rising.
        decay: Share of the run, at its end, spent falling.

    Raises:
        ValueError: ``peak`` is negative, infinite or NaN; a share is negative or NaN; the shares
            exceed the run together.

    >>> press = WarmupHoldDecay(1.0, warmup=0.4, decay=0.2)
    >>> [round(press(p), 2) for p in (0.0, 0.2, 0.4, 0.8, 0.9, 1.0)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    peak: float
    warmup: float = 0.4
    decay: float = 0.0

    def __post_init__(self) -> None:
        _check_strengths(self, "peak")
        shares = (self.warmup, self.decay)
        if not all(is_number(share, 0, 1) for share in shares) or sum(shares) > 1:
            raise ValueError(
                f"WarmupHoldDecay(warmup={self.warmup}, decay={self.decay}): both are shares of "
                "the run, each ≥ 0 and at most 1 together."
            )

    def __call__(self, progress: float) -> float:
        p = _clamped(progress)
        risen = p / self.warmup if p < self.warmup else 1.0
        left = (1 - p) / self.decay if 1 - p < self.decay else 1.0
        return self.peak * min(risen, left)


@dataclass(frozen=True)
class Join:
    """One schedule after the other; each sees its own progress from 0 to 1.

    Args:
        schedules: The pieces, in order.
        boundaries: Progress at which the next piece takes over: one fewer than the pieces,
            increasing, between 0 and 1.

    Raises:
        ValueError: The number of boundaries does not fit the pieces, or they are out of order.

    >>> press = Join([Linear(0.0, 1.0), Constant(1.0), Constant(0.0)], [0.4, 0.9])
    >>> [press(p) for p in (0.0, 0.2, 0.5, 0.9)]
    [0.0, 0.5, 1.0, 0.0]
    """

    schedules: Sequence[Schedule]
    boundaries: Sequence[float]

    def __post_init__(self) -> None:
        for name, example in (("schedules", "[Linear(0, 1)]"), ("boundaries", "[0.4]")):
            if not isinstance(getattr(self, name), list | tuple):
                raise ValueError(
                    f"Join({name}={getattr(self, name)!r}): must be a list, as {example}."
                )
        for schedule in self.schedules:
            check_object("Join(schedules)", schedule, ("__call__",), "Linear(0, 1)")
        if not all(is_number(boundary, 0, 1) for boundary in self.boundaries):
            raise ValueError(
                f"Join(boundaries={self.boundaries!r}): must be numbers between 0 and 1."
            )
        for field in fields(self):  # a list from a config file would leave us without a hash
            object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                f"Join(boundaries={self.boundaries}): {len(self.schedules)} schedules need "
                f"{max(len(self.schedules) - 1, 0)} boundaries between them."
            )
        edges = self._edges()
        if not all(left < right for left, right in pairwise(edges)):
            raise ValueError(
                f"Join(boundaries={self.boundaries}): must increase, between 0 and 1, such as "
                "[0.4, 0.9]."
            )

    def __call__(self, progress: float) -> float:
        p = _clamped(progress)
        edges = self._edges()
        piece = sum(boundary <= p for boundary in self.boundaries)
        return self.schedules[piece]((p - edges[piece]) / (edges[piece + 1] - edges[piece]))

    def _edges(self) -> tuple[float, ...]:
        return (0.0, *self.boundaries, 1.0)


@dataclass(frozen=True)
class ByPasses:
    """λ grows with the square of the passes over the data, up to `most` after `passes` of them.

    L1 pressure helps where a network would learn its data by heart. It cannot in the first pass,
    in which all is new and pressure only holds learning back: a λ on which a small network thrives
    through fifty passes ruins a language model that makes two.

    Args:
        most: the largest λ, ≥ 0. Left alone, 1e-3 where `limit` holds it back, and 1e-4 elsewhere:
            where some weight is moved by SGD, in a form that was chosen, and without a limit.
        passes: over the training data until it is reached, > 0.
        limit: the most that the default form moves a weight by in a step, as a share of the
            learning rate, > 0. On a plateau, where gradients are small, any λ is a large one: a
            network that has not begun to learn is emptied before it can. See `OptimizerMetric`.

    >>> [ByPasses().after(passes) for passes in (0, 1.5, 3, 60)]
    [0.0, 0.00025, 0.001, 0.001]
    >>> ByPasses().after(60, limited=False), ByPasses(3e-4).after(60, limited=False)
    (0.0001, 0.0003)
    """

    most: float | None = None
    passes: float = 3.0
    limit: float = 0.05

    def __post_init__(self) -> None:
        most = 0.0 if self.most is None else self.most
        if not is_number(most, 0) or not is_number(self.passes, 0) or self.passes == 0:
            raise ValueError(
                "strength: ByPasses takes a finite most ≥ 0 and passes > 0, got "
                f"most={self.most!r}, passes={self.passes!r}"
            )
        if self.limit != math.inf and not is_number(self.limit, math.ulp(0.0)):
            raise ValueError(
                f"strength: ByPasses(limit={self.limit!r}): give the share of a step's length that "
                "pressure may move a weight by, as 0.1, or math.inf"
            )

    def after(self, passes: float, *, limited: bool = True) -> float:
        """λ after so many passes.

        Args:
            passes: over the training data.
            limited: whether what is pressed knows `limit`.
        """
        held = limited and self.limit < math.inf
        most = (1e-3 if held else 1e-4) if self.most is None else self.most
        return round(most * min(passes / self.passes, 1.0) ** 2, 15)
