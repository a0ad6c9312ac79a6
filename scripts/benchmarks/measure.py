"""How to measure: ratios of times, taken in turns in one process, and bytes."""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]
Contender = Callable[[], AbstractContextManager[Work]]

SHORTEST = 0.05  # seconds; what is shorter is repeated, until one timing takes as long


@dataclass(frozen=True)
class Row:
    """One line of the result: a piece of work, what is asked of it and what it takes.

    `measured` is the median of `count` figures and `spread` their quartiles. `note` says why there
    is none, or what else was seen. Without a `goal` nothing is asked.
    """

    work: str
    unit: str
    goal: float | None
    measured: float | None
    spread: tuple[float, float] | None = None
    count: int = 1
    note: str = ""

    sign = "≤"

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.goal is None:
            return ""
        return "ok" if self._reached(self.measured, self.goal) else "missed"

    @staticmethod
    def _reached(measured: float, goal: float) -> bool:
        return measured <= goal


class AtLeast(Row):
    """A line of which more is better."""

    sign = "≥"

    @staticmethod
    def _reached(measured: float, goal: float) -> bool:
        return measured >= goal


def row_of(
    work: str,
    unit: str,
    goal: float | None,
    figures: Sequence[float],
    kind: type[Row] = Row,
    note: str = "",
) -> Row:
    """The row of a median."""
    if len(figures) == 1:
        return kind(work, unit, goal, figures[0], note=note)
    low, median, high = quantiles(figures, n=4, method="inclusive")
    return kind(work, unit, goal, median, (low, high), len(figures), note)


def now(device: torch.device) -> float:
    """Seconds that this process has worked.

    With one thread the processor's time, which is that of an idle machine on a busy one too. With
    several the elapsed time; on a GPU as well, once it has done all that was asked of it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def take_turns(
    contenders: Mapping[str, Contender], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each contender in each round.

    All work once a round, forwards in one and backwards in the next: what drifts slower than that,
    a warm processor or a busy neighbour, hits all of them alike.
    """
    times = _repetitions(next(iter(contenders.values())), device)
    seconds = _turns(contenders, device, rounds + 1, times)
    return {name: each[1:] for name, each in seconds.items()}  # the first round warms up


def once_each(
    contenders: Mapping[str, Contender], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Seconds of work that is long, or that cannot be done twice: once a round, from the first."""
    return _turns(contenders, device, rounds, times=1)


def _turns(
    contenders: Mapping[str, Contender], device: torch.device, rounds: int, times: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    gc.freeze()  # what was here before is nobody's garbage: to walk it takes longer than the work
    try:
        for turn in range(rounds):
            for name in reversed(names) if turn % 2 else names:
                seconds[name].append(_seconds(contenders[name], device, times))
    finally:
        gc.unfreeze()
    return seconds


def _seconds(contender: Contender, device: torch.device, times: int) -> float:
    with contender() as work:
        if times > 1:
            work()  # what is short feels a cold cache
        else:
            gc.collect()  # what others have left is not this one's
        start = now(device)
        for _ in range(times):
            work()
        return now(device) - start


def always(work: Work) -> Contender:
    """A contender that has nothing to set up."""
    return lambda: nullcontext(work)


def _repetitions(contender: Contender, device: torch.device) -> int:
    """How often to repeat a work to have something to measure."""
    with contender() as work:
        work()
        start, count = now(device), 0
        while now(device) < start + SHORTEST:
            work()
            count += 1
    return max(count, 1)


def over(seconds: Mapping[str, Sequence[float]], work: str, base: str) -> list[float]:
    """The ratios of two contenders' times, round by round."""
    return [a / b for a, b in zip(seconds[work], seconds[base], strict=True)]


def allocated(work: Work, device: torch.device) -> tuple[int, int]:
    """Bytes that a work allocates: the most at once, and what is left of them at its end.

    They are read from torch's own allocators: on a CPU from the profiler's trace, which lists each
    allocation, on a GPU from its statistics.
    """
    if device.type == "cuda":
        return _allocated_on_gpu(work, device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    del kept
    changes = [event for event in events if event["name"] == "[memory]"]
    most = held = 0
    for change in sorted(changes, key=lambda event: event["ts"]):
        held += change["args"]["Bytes"]
        most = max(most, held)
    return most, held


def _allocated_on_gpu(work: Work, device: torch.device) -> tuple[int, int]:
    # What was requested: the allocator rounds up, which tells more of it than of the work.
    def requested(what: str) -> int:
        torch.cuda.synchronize(device)
        return int(torch.cuda.memory_stats(device)[f"requested_bytes.all.{what}"])

    torch.cuda.reset_peak_memory_stats(device)
    before = requested("current")
    kept = work()
    most, held = requested("peak") - before, requested("current") - before
    del kept
    return most, held
