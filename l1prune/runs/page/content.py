"""What the page of runs shows, in plain values: metrics, recipes, groups, runs."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from l1prune.runs.costs import COSTS
from l1prune.runs.counts import PRUNABLE, Count
from l1prune.runs.frontier import pareto
from l1prune.runs.groups import Group, by_scale, groups_of
from l1prune.runs.looks import looks
from l1prune.runs.points import DENSE, Point
from l1prune.runs.scale import Scale, View
from l1prune.runs.settings import differing, is_told, short_names
from l1prune.runs.spread import Spread
from l1prune.runs.tables import judged_by
from l1prune.words import quantity

SETTINGS = 100
"""The most columns of settings in the table."""


def title(points: Sequence[Point]) -> str:
    """What there is to see, in a few words.

    >>> title([Point("a", "l1", 10, 0.9), Point("b", "dense", 20, 0.9)])
    '2 runs, 2 recipes'
    """
    recipes = {point.recipe for point in points}
    return f"{quantity(len(points), 'run')}, {quantity(len(recipes), 'recipe')}"


def heading(metrics: Sequence[Mapping[str, Any]]) -> str:
    """What the page is about, by the metrics that runs are judged by.

    >>> heading([{"title": "test accuracy"}])
    'Test accuracy against the prunable weights that are left'
    """
    what = metrics[0]["title"] if len(metrics) == 1 else "networks"
    return f"{what[0].upper()}{what[1:]} against the prunable weights that are left"


def content(points: Sequence[Point]) -> dict[str, Any]:
    """What the page shows, in plain values: the groups and runs of each metric, most weights first.

    Layers are named once for all runs of the same network, and runs refer to them by number; so
    they do to metrics and groups.
    """
    points = sorted(points, key=lambda p: (-p.nonzero, p.monitor.rank(p.figure), p.name))
    axes = {"nonzero": PRUNABLE}
    axes |= {name: what for name, what in COSTS.items() if any(name in p.costs for p in points)}
    keys = _most_told(differing(points), points)
    networks = {network: n for n, network in enumerate(dict.fromkeys(map(_network, points)))}
    parts = by_scale(points)
    scales = [scale for scale, _ in parts]
    groups = [(n, group) for n, (_, some) in enumerate(parts) for group in groups_of(some)]
    number = {id(p): n for n, (_, group) in enumerate(groups) for p in group.points}
    shown = []
    for point in points:
        told = {key: point.settings[key] for key in keys if is_told(point.settings.get(key))}
        group, network = number[id(point)], networks[_network(point)]
        place = {"metric": groups[group][0], "group": group, "network": network}
        shown.append(
            {
                **_run(point, scales[place["metric"]]),
                **place,
                "settings": told,
                "costs": _costs(point, axes),
            }
        )
    return {
        "recipes": {
            recipe: {"colour": look.colour, "symbol": look.symbol}
            for recipe, look in looks(point.recipe for point in points).items()
        },
        "axes": axes,
        "metrics": [_metric(scale, some, judged_by(scale, scales)) for scale, some in parts],
        "settings": dict(zip(keys, short_names(keys), strict=True)),
        "networks": list(networks),
        "groups": _groups(groups, scales, axes),
        "runs": shown,
    }


def _run(point: Point, scale: Scale) -> dict[str, Any]:
    """What a run says of itself alone."""
    return {
        "name": point.name,
        "recipe": point.recipe,
        "figure": point.on(scale),
        "beside": point.beside(scale),
        "seed": point.seed,
        "nonzero": point.nonzero,
        "times": point.weights.times,
        "parameters": _count(point.parameters),
        "left": [layer.nonzero for layer in point.layers],
        "history": {name: _curve(column) for name, column in point.history.items()},
    }


def _metric(scale: Scale, points: Sequence[Point], name: str) -> dict[str, Any]:
    """What the figures of some runs are of, and how much of them is in view at first."""
    return {
        "name": scale.monitor.name,
        "judged": name,
        "lower": scale.monitor.mode == "min",
        "percent": scale.percent,
        "title": scale.title,
        "axis": scale.title + scale.direction,
        "beside": scale.beside,
        "chosen": scale.chosen,
        "worst": View.of(scale.monitor, [point.on(scale) for point in points]).worst,
    }


def _groups(
    groups: Sequence[tuple[int, Group]], scales: Sequence[Scale], axes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Recipes and sizes, each with its mean over seeds and its difference from the dense one."""
    shown = []
    for metric, scale in enumerate(scales):
        ours = [group for number, group in groups if number == metric]
        fronts = {axis: _front(ours, axis) for axis in axes}
        for group in ours:
            compared = group.compared_with(ours, DENSE)
            shown.append(
                {
                    "name": group.name,
                    "recipe": group.recipe,
                    "metric": metric,
                    "seeds": group.seeds,
                    "count": len(group.points),
                    "nonzero": group.nonzero,
                    "times": group.weights.times,
                    "parameters": _count(group.parameters),
                    "share": group.nonzero / group.prunable if group.prunable else None,
                    "figure": _spread(group.figure, scale),
                    "beside": _spread(group.beside, scale) if group.beside else None,
                    "less": compared and {
                        "mean": compared.less.spread.mean,
                        "text": compared.shown(scale),
                        "paired": compared.less.paired,
                    },
                    "costs": _costs(group, axes),
                    "best": [axis for axis, front in fronts.items() if group in front],
                }
            )  # fmt: skip
    return shown


def _spread(spread: Spread, scale: Scale) -> dict[str, Any]:
    return {"mean": spread.mean, "error": spread.error, "text": scale.spread(spread)}


def _count(count: Count) -> dict[str, Any]:
    return {"left": count.left, "times": count.times}


def _costs(one: Point | Group, axes: Mapping[str, str]) -> dict[str, float]:
    costs = {"nonzero": one.nonzero, **one.costs}
    return {axis: costs[axis] for axis in axes if axis in costs}


def _front(groups: Sequence[Group], axis: str) -> list[Group]:
    """Which groups are the best trade-offs with one of the costs."""
    costs = {id(group): {"nonzero": group.nonzero, **group.costs} for group in groups}
    known = [group for group in groups if axis in costs[id(group)]]
    return pareto(known, lambda group: costs[id(group)][axis])


def _most_told(keys: Sequence[str], points: Sequence[Point]) -> list[str]:
    """As many settings as a table has room for, those that most runs have."""
    told = Counter(key for point in points for key in point.settings)
    chosen = set(sorted(keys, key=lambda key: -told[key])[:SETTINGS])
    return [key for key in keys if key in chosen]


def _network(point: Point) -> tuple[tuple[str, str, int], ...]:
    return tuple((one.name, "×".join(map(str, one.shape)), one.total) for one in point.layers)


def _curve(column: Sequence[float | None]) -> array[float]:
    return array("d", (math.nan if x is None else x for x in column))
