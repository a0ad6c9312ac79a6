"""Groups: a run is (recipe, size, seed); those that differ in the seed alone are one result.

A recipe and a size are compared by the mean over seeds. What is best is chosen by validation, so
that the test set, reported beside it, has had no say. Where some runs were not tested, all are
compared by validation: a figure of the one never stands among those of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from l1prune.runs.costs import COSTS
from l1prune.runs.counts import Count, mean
from l1prune.runs.monitor import Monitor
from l1prune.runs.names import names
from l1prune.runs.points import DENSE, Point
from l1prune.runs.scale import Scale
from l1prune.runs.settings import (
    apart_from_seeds,
    differing,
    goes_without_saying,
    is_of_training,
    is_seed,
    is_told,
    kinds,
)
from l1prune.runs.spread import Difference, Seed, Spread, difference

ALIKE = 1.05
"""By how many times the sizes of two groups may differ that are compared as equally small."""


@dataclass(frozen=True)
class Comparison:
    """A group beside the one that it is compared with.

    Attributes:
        less: by how much its figures are above the other's.
        otherwise: the settings, beyond those of pruning, of which the two were told different
            values. What only one was told counts where the other was told of the same thing, as
            of a trainer.
    """

    less: Difference
    otherwise: tuple[str, ...]

    def shown(self, scale: Scale) -> str:
        """The difference, marked where the two were trained otherwise."""
        return scale.difference(self.less.spread) + " †" * bool(self.otherwise)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seeds alone.

    Attributes:
        recipe: of all.
        points: at least one.
        settings: what all were told, but for the seed; and what the first was.
        scale: how their figures are shown, and which of them.
        kind: what is trained on what.
        words: the settings that tell it from the other groups of its recipe, where size does not.
    """

    recipe: str
    points: tuple[Point, ...]
    settings: Mapping[str, Any]
    scale: Scale
    kind: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def monitor(self) -> Monitor:
        """What all are judged by."""
        return self.points[0].monitor

    @property
    def name(self) -> str:
        """The recipe, and what else has to be said."""
        return ", ".join([self.recipe, *self.words])

    @cached_property
    def nonzero(self) -> float:
        """The mean of the weights left."""
        return math.fsum(point.nonzero for point in self.points) / len(self.points)

    @property
    def prunable(self) -> int | None:
        """How many weights there could be, where that is known."""
        return self.points[0].prunable

    @property
    def weights(self) -> Count:
        """The mean of the prunable weights left."""
        return Count(self.nonzero, self.prunable)

    @cached_property
    def parameters(self) -> Count:
        """The mean of all parameters left."""
        return mean([point.parameters for point in self.points])

    @cached_property
    def figures(self) -> dict[Seed, float]:
        """The figure of each seed."""
        return _by_seed(self.points, [point.on(self.scale) for point in self.points])

    @cached_property
    def figure(self) -> Spread:
        """Mean and standard error over the seeds."""
        return Spread.of([*self.figures.values()])

    @cached_property
    def beside(self) -> Spread | None:
        """The same of validation beside test, or of test beside validation, where all have it."""
        known = [one for point in self.points if (one := point.beside(self.scale)) is not None]
        if len(known) < len(self.points):
            return None
        return Spread.of([*_by_seed(self.points, known).values()])

    @property
    def judged(self) -> float:
        """What it is chosen by: validation, where that is known of all."""
        chosen = self.beside if self.scale.tested and self.scale.validated else None
        return (chosen or self.figure).mean

    @property
    def costs(self) -> dict[str, float]:
        """The mean of each cost, over the runs that were deployed."""
        told = {name: [p.costs[name] for p in self.points if name in p.costs] for name in COSTS}
        return {name: math.fsum(some) / len(some) for name, some in told.items() if some}

    @property
    def seeds(self) -> str:
        """The seeds in short: "0–19", "0–2, 7"; and how many runs, where one has several."""
        known = [seed for seed in self.figures if isinstance(seed, int)]
        more = len(self.figures) - len(known)
        words = ", ".join([*_ranges(known), *([f"{more} unknown"] if more and known else [])])
        again = len(self.points) > len(self.figures)
        return f"{words} ({len(self.points)} runs)" if again else words

    @property
    def _task(self) -> tuple[Any, ...]:
        # All parameters: which of them may go is the recipe's choice.
        size = self.points[0].summary.get("params/total", self.prunable)
        return (self.monitor, size, *self.kind)

    def compared_with(self, groups: Iterable[Group], recipe: str) -> Comparison | None:
        """How it differs from another recipe at the same size, or from the dense network.

        Args:
            groups: to look for it in. Of several the one that was told the most alike.
            recipe: of which to look for.

        Returns:
            None: there is none, or this is it.
        """
        rivals = [group for group in groups if group.recipe == recipe and self._meets(group)]
        if self.recipe == recipe or not rivals:
            return None
        rival = max(rivals, key=lambda one: (self._likeness(one), -self._apart(one)))
        return Comparison(difference(self.figures, rival.figures), self._otherwise(rival))

    def _otherwise(self, rival: Group) -> tuple[str, ...]:
        ours, theirs = self.settings, rival.settings
        both = {key.rpartition(".")[0] for key in ours} & {k.rpartition(".")[0] for k in theirs}
        found = []
        for key in filter(is_of_training, dict.fromkeys([*ours, *theirs])):
            values = [told[key] for told in (ours, theirs) if is_told(told.get(key))]
            alone = len(values) == 1 and key.rpartition(".")[0] in both
            if alone or len(set(map(repr, values))) > 1:
                found.append(key)
        return tuple(found)

    def _meets(self, other: Group) -> bool:
        alike = other.recipe == DENSE or self._apart(other) <= math.log(ALIKE)
        return alike and (self._task, self.scale) == (other._task, other.scale)

    def _apart(self, other: Group) -> float:
        return abs(math.log(max(self.nonzero, 1) / max(other.nonzero, 1)))

    def _likeness(self, other: Group) -> int:
        return len(self._told & other._told)

    @cached_property
    def _told(self) -> set[tuple[str, str]]:
        return {(key, repr(value)) for key, value in self.settings.items()}


def groups_of(points: Sequence[Point]) -> list[Group]:
    """The groups of some runs, most weights first, and of as many the worst.

    Runs that say nothing of how they were set are of a group where their sizes are equal.

    >>> runs = [Point(str(n), "l1", 9, n / 10, settings={"seed": n, "lr": 1}) for n in (1, 2, 3)]
    >>> [group] = groups_of(runs)
    >>> round(group.figure.mean, 9), group.figure.count
    (0.2, 3)
    """
    groups = [group for scale, some in by_scale(points) for group in _groups(some, scale)]
    return sorted(groups, key=lambda g: (-g.nonzero, g.monitor.rank(g.figure.mean), g.name))


def by_scale(points: Sequence[Point]) -> list[tuple[Scale, list[Point]]]:
    """The runs by what compares them, each with how it is shown; that of most runs first.

    Runs that are judged by different metrics have nothing in common. Of one metric all are compared
    on the test set, or, where not all were tested, those by validation that have it.

    >>> runs = [Point("a", "l1", 9, 0.9, validation=0.8), Point("b", "l1", 9, 0.7, tested=False)]
    >>> [(scale.title, [run.on(scale) for run in some]) for scale, some in by_scale(runs)]
    [('validation accuracy', [0.8, 0.7])]
    """
    kinds: dict[tuple[Monitor, bool], list[Point]] = {}
    untested = {point.monitor for point in points if not point.tested}
    for point in points:
        tested = not (point.monitor in untested and point.is_validated)
        kinds.setdefault((point.monitor, tested), []).append(point)
    order = sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind[0].name, kind[1]))
    return [(_scale(kinds[kind], *kind), kinds[kind]) for kind in order]


def _scale(points: Sequence[Point], monitor: Monitor, tested: bool) -> Scale:
    figures = (figure for point in points for figure in (point.figure, point.judged))
    return Scale.of(monitor, figures, tested, all(point.is_validated for point in points))


def _groups(points: Sequence[Point], scale: Scale) -> list[Group]:
    """The groups of runs of one scale."""
    settings = apart_from_seeds(points)
    telling = [{k: v for k, v in one.items() if not goes_without_saying(k)} for one in settings]
    told = [replace(point, settings=one) for point, one in zip(points, telling, strict=True)]
    keys = [key for key in differing(told) if not is_seed(key)]
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, (point, one) in enumerate(zip(points, settings, strict=True)):
        told_of_it = tuple(repr(one.get(key)) for key in keys)
        size = None if one else point.nonzero
        found.setdefault((point.recipe, point.prunable, told_of_it, size), []).append(number)
    kind = kinds(settings)
    groups = [
        Group(points[n].recipe, tuple(points[n] for n in (n, *more)), settings[n], scale, kind[n])
        for n, *more in found.values()
    ]
    return [
        replace(group, words=words)
        for group, words in zip(groups, names(groups, keys), strict=True)
    ]


def _by_seed(points: Sequence[Point], values: Sequence[float]) -> dict[Seed, float]:
    """The mean for each seed: a run that was made twice counts once."""
    told: dict[Seed, list[float]] = {}
    for point, value in zip(points, values, strict=True):
        told.setdefault(point.name if point.seed is None else point.seed, []).append(value)
    return {seed: math.fsum(some) / len(some) for seed, some in told.items()}


def _ranges(seeds: Iterable[int]) -> list[str]:
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words: list[str] = []
    for run in runs:
        words += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
    return words
