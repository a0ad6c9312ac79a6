"""Timing: how long several ways to do the same take, side by side in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Protocol

import torch

Work = Callable[[], object]
Clock = Callable[[], float]


class Timer(Protocol):
    """How long each of several works takes, in seconds, in each of several rounds."""

    def __call__(self, works: Sequence[Work]) -> list[list[float]]: ...


def clock_of(device: torch.device) -> Clock:
    """The clock that tells what a person waits for.

    With one thread that is the time this process worked, which other processes of a busy machine
    leave as it is. Several threads work at once, and a GPU beside the processor: then it is the
    time that passed, on a GPU once all that was asked of it is done.
    """
    if device.type == "cuda":
        return _Synchronised(device)
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


@dataclass(frozen=True)
class _Synchronised:
    device: torch.device

    def __call__(self) -> float:
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Paired:
    """All works once a round, forwards in one round and backwards in the next.

    What drifts slower than a round, a warm processor or a busy neighbour, hits all of them alike,
    so that ratios within a round are to be trusted, and no time by itself.

    Args:
        clock: in seconds.
        rounds: how many, two at least.
        least: seconds; what takes less is repeated within a round.

    >>> ticks = iter(range(1000))
    >>> Paired(lambda: next(ticks), rounds=3, least=0.0)([lambda: None, lambda: None])
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    clock: Clock
    rounds: int = 11
    least: float = 0.002

    def __call__(self, works: Sequence[Work]) -> list[list[float]]:
        repeats = [self._repeats(work) for work in works]
        seconds: list[list[float]] = [[] for _ in works]
        for turn in range(self.rounds):
            for number in range(len(works))[:: -1 if turn % 2 else 1]:
                once = self._elapsed(works[number], repeats[number]) / repeats[number]
                seconds[number].append(once)
        return seconds

    def once(self, work: Work) -> float:
        """Seconds that a work's turn takes in a round; it is warm afterwards."""
        return self._elapsed(work, self._repeats(work))

    def _repeats(self, work: Work) -> int:
        """How often a work fits into the least time; it is warm afterwards."""
        work()
        repeats = 1
        while (elapsed := self._elapsed(work, repeats)) < self.least:
            repeats = max(2 * repeats, int(repeats * self.least / max(elapsed, 1e-6)))
        return repeats

    def _elapsed(self, work: Work, repeats: int) -> float:
        start = self.clock()
        for _ in range(repeats):
            work()
        return self.clock() - start


@dataclass(frozen=True)
class Speedup:
    """How many times faster a work is than another, over the rounds: quartiles.

    Attributes:
        low: in three of four rounds it is at least that.
        median: in half of them.
        high: in one of four.
    """

    low: float
    median: float
    high: float


def speedup(base: Sequence[float], other: Sequence[float]) -> Speedup:
    """How many times faster a work is than another, each round by itself.

    >>> speedup([2.0, 4.0, 2.0], [1.0, 1.0, 2.0])
    Speedup(low=1.5, median=2.0, high=3.0)
    """
    ratios = [b / max(o, 1e-12) for b, o in zip(base, other, strict=True)]
    return Speedup(*quantiles(ratios, n=4, method="inclusive"))
