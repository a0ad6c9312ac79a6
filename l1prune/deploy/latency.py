"""Latency: how long several executions of the same work take, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from l1prune.deploy.timing import Paired, speedup

BATCHES = (1, 16, 64)
"""How many examples at a time a network is run with."""
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
    timer = Paired(time.process_time, least=TURN)
    a_round = sum(timer.once(call) for call in calls.values())
    most = max(FEWEST, int(LONGEST / max(a_round, TURN)))
    taken = replace(timer, rounds=min(rounds, most))([*calls.values()])
    return {
        name: Latency(median(own), speedup(taken[0], own).median)
        for name, own in zip(calls, taken, strict=True)
    }
