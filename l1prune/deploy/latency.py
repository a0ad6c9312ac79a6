"""Latency: how long several executions of the same work take, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

ROUNDS = 15
FEWEST, LONGEST = 5, 30.0
"""Where a round takes long there are fewer of them, so that all take so many seconds of the CPU."""
TURN = 0.005
"""Seconds of CPU that each turn takes at least: the clock is finer than a thousandth of it."""


@dataclass(frozen=True)
class Latency:
    """How long one call takes.

    Attributes:
        seconds: of the CPU; the median over the rounds.
        speed: how many times faster it is than the first, the median of the rounds' own ratios.
    """

    seconds: float
    speed: float


def latencies(
    calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, Latency]:
    """Time several calls side by side: all take their turn in every round.

    What else happens on the machine then happens to all of them; what is compared is seconds of the
    CPU that this process used, in the same round. The caller sees to it that all use as many
    threads.

    Args:
        calls: by name; the first is what the others are compared with.
        rounds: how often all take their turn; fewer times, but five at least, if that would take
            more than half a minute.

    >>> found = latencies({"much": lambda: sum(range(20000)), "little": lambda: 1}, rounds=3)
    >>> found["much"].speed, found["little"].speed > 10
    (1.0, True)
    """
    turns = {name: _turn(call) for name, call in calls.items()}
    repeats = {name: number for name, (number, _) in turns.items()}
    a_round = sum(seconds for _, seconds in turns.values())
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(min(rounds, max(FEWEST, int(LONGEST / max(a_round, TURN))))):
        for name, call in calls.items():
            taken[name].append(_seconds(call, repeats[name]) / repeats[name])
    first = next(iter(taken.values()), [])
    return {
        name: Latency(
            median(own), median(one / other for one, other in zip(first, own, strict=True))
        )
        for name, own in taken.items()
    }


def _turn(call: Callable[[], object]) -> tuple[int, float]:
    """How often a call fills a turn, and how long that takes; found while it warms up."""
    repeats = 1
    while (seconds := _seconds(call, repeats)) < TURN:
        repeats *= 2 if seconds < TURN / 8 else 1 + int(TURN / seconds)
    return repeats, seconds


def _seconds(call: Callable[[], object], repeats: int) -> float:
    begin = time.process_time()
    for _ in range(repeats):
        call()
    return time.process_time() - begin
