"""The picture of many runs: how good each is against the weights that it has left."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l1prune.checks import needing
from l1prune.runs.counts import PRUNABLE
from l1prune.runs.escapes import label
from l1prune.runs.frontier import Judged, pareto
from l1prune.runs.groups import Group, by_scale, groups_of
from l1prune.runs.looks import INK, Look, looks
from l1prune.runs.points import DENSE, Point
from l1prune.runs.scale import Scale, View
from l1prune.training.picture import GREY, PALE, scale_by_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOM = 0.12
"""Of an axis, on each side of what is drawn."""


def draw(points: Sequence[Point], path: str | Path) -> None:
    """Draw what runs are judged by against prunable weights left: runs, means, best trade-offs.

    Each run is a pale marker, each recipe and size a full one at the mean over its seeds, with its
    standard error. Those of different metrics have a picture each, side by side. The better end
    is up. What lies far below all else is at the edge, with its value.

    Args:
        points: the runs; at least one.
        path: where the picture goes. Its suffix says what it is: `.png`, `.svg`, `.pdf`.

    Raises:
        ValueError: there is no run to draw, or no such kind of picture.
        ImportError: matplotlib is missing.
    """
    if not points:
        raise ValueError("points is empty: there is no run to draw")
    with needing("plots", "a picture"):
        from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state

    scales, look = by_scale(points), looks(point.recipe for point in points)
    figure = Figure(figsize=(8 * len(scales), 4.8), layout="constrained")
    every = figure.subplots(1, len(scales), squeeze=False)[0]
    for axes, (scale, some) in zip(every, scales, strict=True):
        _panel(axes, some, scale, look)
    entries = {
        text: handle
        for axes in every
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        entries.values(), entries.keys(), loc="outside right upper", frameon=False,
        handletextpad=0.4,
    )  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # of letters that its font lacks, and boxes will stand for
        warnings.filterwarnings("ignore", r"Glyph|Matplotlib currently does not support")
        figure.savefig(path, dpi=200)


def _panel(axes: Axes, points: Sequence[Point], scale: Scale, look: dict[str, Look]) -> None:
    groups = groups_of(points)
    _prepare(axes, scale)
    axes.set_xlim(*_sizes(_places(points)))
    view = View.of(scale.monitor, [point.on(scale) for point in points])
    runs = [point for point in points if not view.hides(point.on(scale))]
    means = [group for group in groups if not view.hides(group.figure.mean)]
    for recipe, one in look.items():
        _scatter(axes, one, [p for p in runs if p.recipe == recipe],
                 [g for g in means if g.recipe == recipe], scale)  # fmt: skip
    _draw_front(axes, [group for group in pareto(groups) if group in means])
    if scale.monitor.mode == "min":
        axes.invert_yaxis()
    for group in groups:
        if group not in means:
            _at_edge(axes, group, look[group.recipe], scale)


def _prepare(axes: Axes, scale: Scale) -> None:
    judged = label(scale.title) + scale.direction
    axes.set(xlabel=f"{PRUNABLE} (log scale)", ylabel=judged)
    scale_by_weights(axes)
    if scale.percent:
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g} %")
    axes.grid(color=PALE)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.margins(y=ROOM)


# A log axis has no 0: a network with nothing left is shown at 1.
def _places(points: Iterable[Judged]) -> list[float]:
    return [max(point.nonzero, 1) for point in points]


def _sizes(places: Sequence[float]) -> tuple[float, float]:
    """Where the log axis begins and ends, with some room beside what is drawn."""
    least, most = min(places), max(places)
    room = (most / least) ** ROOM if most > least else 2
    return least / room, most * room


def _scatter(
    axes: Axes, look: Look, runs: Sequence[Point], means: Sequence[Group], scale: Scale
) -> None:
    colour, size = look.colour or INK, 46 if look.colour else 150
    style: dict[str, Any] = {"color": colour, "marker": look.marker, "linewidths": 0}
    if len(runs) > len(means):
        y = [point.on(scale) for point in runs]
        axes.scatter(_places(runs), y, s=size / 3, alpha=0.25, zorder=3, **style)
    if means:
        x, y = _places(means), [group.figure.mean for group in means]
        if any(errors := [group.figure.error or 0 for group in means]):
            axes.errorbar(x, y, errors, fmt="none", ecolor=colour, elinewidth=1, zorder=3)
        named = label(means[0].recipe)
        axes.scatter(x, y, s=size, alpha=0.85, zorder=4, label=named, **style)


def _draw_front(axes: Axes, front: Sequence[Group]) -> None:
    """The line through those that are best by validation."""
    right = axes.get_xlim()[1]
    x, y = _places(front), [group.figure.mean for group in front]
    style: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "label": "best trade-offs"}
    axes.plot([*x, right], [*y, *(y[-1:] or [math.nan])], zorder=2, **style)
    for group in front:
        if group.recipe != DENSE:
            place = (max(group.nonzero, 1), group.figure.mean)
            times = axes.annotate(group.weights.times, place, (-4, 6), textcoords="offset points")
            times.set(ha="right", size="small", color=GREY)


def _at_edge(axes: Axes, group: Group, look: Look, scale: Scale) -> None:
    """A mark at the lower edge for what lies below it, with how much it is."""
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.transData, axes.transAxes)
    colour = look.colour or INK
    axes.plot(
        [max(group.nonzero, 1)], [0.015], marker="v", color=colour, markerfacecolor="none",
        markersize=7, transform=place, clip_on=False, linestyle="none",
    )  # fmt: skip
    axes.annotate(
        scale.shown(group.figure.mean), (max(group.nonzero, 1), 0.03), xycoords=place,
        xytext=(0, 4), textcoords="offset points", ha="center", size="small", color=colour,
    )  # fmt: skip
