"""Rates: where on its schedule the learning rate is while a network is pruned.

Source: Renda, Frankle & Carbin, "Comparing rewinding and fine-tuning in neural network pruning",
ICLR 2020.
"""

from __future__ import annotations

import copy
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from l1prune.checks import is_number
from l1prune.pressure.optimizers import innermost
from l1prune.weights.warning import warn

Rates = list[Tensor]
"""For each optimizer, in the trainer's order, the rates of its groups over the run: ``(T, G)``."""


@runtime_checkable
class Rewind(Protocol):
    """Takes the learning rate through its schedule otherwise than the user's scheduler does.

    Attributes:
        gradual: whether it goes with many small cuts; where not, there is one by default.
    """

    gradual: bool

    def plan(self, planned: Callable[[], Rates]) -> Rates:
        """The rates to go through; empty: the learning rate is left alone.

        Args:
            planned: finds what the schedulers have planned, or raises ValueError.

        Raises:
            ValueError: they are needed, and not known before the run.
        """
        ...

    def position(
        self, done: float, stages: Sequence[float], cuts: Sequence[float], peak: float
    ) -> float:
        """Where on its schedule the learning rate is, in [0, 1].

        Args:
            done: share of the run.
            stages: the ends of its stages so far and of this one, as rising shares of the run.
            cuts: when cuts are made, as rising shares of a stage.
            peak: where on the schedule the rates are at their highest: see `peak_of`.
        """
        ...


@dataclass(frozen=True)
class AfterEachCut(Rewind):
    """Goes back after each cut, or each stage where there are several, and on to the end.

    Args:
        to: where on the schedule it goes back to, in [0, 1).
    """

    to: float
    gradual = False

    def plan(self, planned: Callable[[], Rates]) -> Rates:
        return planned()

    def position(
        self, done: float, stages: Sequence[float], cuts: Sequence[float], peak: float
    ) -> float:
        ends = (*cuts, 1.0) if tuple(stages) == (1.0,) else stages
        return position(done, ends, self.to)


@dataclass(frozen=True)
class HoldPeak(Rewind):
    """Holds the learning rate at its peak until the last cut, and then takes it to its end.

    A network that loses weights has to learn anew, and what is left of a short run after the last
    cut is all the time it has: a schedule that has come down by then spends it at small steps. A
    schedule that is not known before the run, as that of `ReduceLROnPlateau`, is left alone, and
    the run says so.

    >>> where = [HoldPeak().position(d, (1.0,), (0.3, 0.6), peak=0.2) for d in (0.1, 0.5, 0.6, 0.8)]
    >>> [round(at, 3) for at in where]
    [0.1, 0.2, 0.2, 0.6]
    """

    gradual = True

    def plan(self, planned: Callable[[], Rates]) -> Rates:
        try:
            return planned()
        except ValueError as error:
            warn(f"the learning rate is left to its scheduler: {error}")
            return []

    def position(
        self, done: float, stages: Sequence[float], cuts: Sequence[float], peak: float
    ) -> float:
        (part, within), last = _place(done, stages), cuts[-1]
        if within < last:
            return peak if part else min(within, peak)
        return peak + (1 - peak) * (within - last) / max(1 - last, 1e-9)


def as_rewind(rewind: float | Rewind | None) -> Rewind | None:
    """The argument of `L1Pruning`: a share of the schedule stands for `AfterEachCut`.

    Raises:
        ValueError: it is no place on a schedule.
    """
    given: object = rewind
    if given is None or (isinstance(given, Rewind) and not isinstance(given, type)):
        return given
    if not is_number(given, 0, 1) or given == 1:
        raise ValueError(
            "rewind must be a share of the learning rate's schedule in [0, 1), HoldPeak(), or "
            f"None, got {rewind!r}"
        )
    return AfterEachCut(float(given))  # type: ignore[arg-type]


def peak_of(rates: Rates) -> float:
    """Where on the schedule the rates are first at their highest, in [0, 1).

    >>> peak_of([torch.tensor([[0.1]]), torch.tensor([[0.5], [1.0], [1.0], [0.2]])])
    0.25
    """
    planned = next((each for each in rates if len(each) > 1), torch.zeros(1, 1))
    together = (planned / planned.amax(0).clamp_min(1e-300)).sum(1)
    return int(together.argmax()) / len(planned)


def position(done: float, ends: Sequence[float], rewind: float) -> float:
    """Where on its schedule the learning rate is, in [0, 1].

    Args:
        done: share of the run.
        ends: of the parts of the run, as rising shares of it; the last is 1. The first part goes
            through the whole schedule, each other one through what comes after `rewind`.
        rewind: where on the schedule they begin, in [0, 1).

    >>> [position(done, (0.5, 1.0), rewind=0.2) for done in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 0.2, 1.0]
    """
    part, within = _place(done, ends)
    return within if part == 0 else rewind + (1 - rewind) * within


def _place(done: float, ends: Sequence[float]) -> tuple[int, float]:
    """In which part of the run it is, counted from 0, and how much of that is done."""
    part = bisect_right(ends[:-1], done)
    start = ends[part - 1] if part else 0.0
    return part, min((done - start) / max(ends[part] - start, 1e-9), 1.0)


def recorded(
    optimizers: Sequence[Optimizer], schedulers: Sequence[tuple[LRScheduler, int]]
) -> Rates:
    """The learning rates that the run's schedulers have planned, found by walking them once.

    They are left as they were.

    Args:
        optimizers: of the run.
        schedulers: from where they are now, each with how many rates it gives until the end.

    Raises:
        ValueError: what a scheduler will do depends on how training goes, or it cannot be walked.
    """
    return [
        torch.tensor(list(_walk(optimizer, schedulers)), dtype=torch.float64)
        for optimizer in optimizers
    ]


def _walk(
    optimizer: Optimizer, schedulers: Sequence[tuple[LRScheduler, int]]
) -> Iterator[list[float]]:
    yield _rates(optimizer)
    for scheduler, count in schedulers:
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                "rewind: ReduceLROnPlateau has no schedule to go back on; use one that is known "
                "before the run, as CosineAnnealingLR"
            )
        if not _is_of(scheduler, optimizer):
            continue
        with _untouched(scheduler, optimizer):
            for _ in range(count - 1):
                _step(scheduler)
                yield _rates(optimizer)


def _is_of(scheduler: LRScheduler, optimizer: Optimizer) -> bool:
    """Whether a scheduler sets the rates of an optimizer, or of one around or within it."""
    return scheduler.optimizer is optimizer or scheduler.optimizer in innermost(optimizer)


def _step(scheduler: Any) -> None:
    """Walk a scheduler on by one.

    Raises:
        ValueError: it does not go by itself.
    """
    try:
        scheduler.step()
    except Exception as error:
        raise ValueError(
            "rewind, and thresholds in stages, walk the learning rate's schedule before the run, "
            f"and {type(scheduler).__name__}.step() cannot be walked: {error}; use one of torch's "
            "schedulers, as long as the run, or none"
        ) from error


def _rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


@contextmanager
def _untouched(scheduler: Any, optimizer: Optimizer) -> Iterator[None]:
    """Whatever a scheduler does within, it and its optimizer are afterwards as before."""
    state = copy.deepcopy(scheduler.state_dict())
    groups = [
        {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "lr_scheduler.step() before optimizer.step()"
        try:
            yield
        finally:
            scheduler.load_state_dict(state)
            for group, before in zip(optimizer.param_groups, groups, strict=True):
                group.update(before)


def set_rates(optimizers: Sequence[Optimizer], rates: Rates, where: float) -> None:
    """Give the optimizers the learning rates of a place of the schedule.

    Args:
        optimizers: whose rates were recorded.
        rates: what was recorded.
        where: on the schedule, in [0, 1].
    """
    # What has joined since has no plan, and keeps its own rate; so does what nothing schedules,
    # whose rate may be set by hand.
    for optimizer, planned in zip(optimizers, rates, strict=False):
        if len(planned) < 2:
            continue
        row = planned[min(int(where * len(planned) + 1e-6), len(planned) - 1)]
        for group, rate in zip(optimizer.param_groups, row.tolist(), strict=False):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a tensor, so that a compiled step sees it change
            else:
                group["lr"] = rate
