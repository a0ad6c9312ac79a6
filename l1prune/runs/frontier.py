"""Many runs, one curve: accuracy against the number of weights left."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l1prune.checks import needing
from l1prune.runs.costs import COSTS
from l1prune.runs.escapes import cell, label, markdown
from l1prune.runs.points import DENSE, Point, differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours for colour-blind readers; one marker more, so that 42 recipes look unlike.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY, PALE = "#222222", "#777777", "#e6e6e6"


def pareto(
    points: Iterable[Point], cost: Callable[[Point], float] = lambda point: point.nonzero
) -> list[Point]:
    """The best trade-offs, smallest first: the points that no other point beats.

    To beat a point is to be as good in both, lower cost and higher accuracy, and better in one.
    So points that are equal in both stay or go together.

    Args:
        points: the runs.
        cost: what a point costs; by default the weights that are left.

    >>> runs = [Point("a", "l1", 10, 0.9), Point("b", "l1", 20, 0.9), Point("c", "l1", 30, 0.95)]
    >>> [point.name for point in pareto(runs)]
    ['a', 'c']
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (cost(p), -p.accuracy)):
        last = front[-1] if front else point
        twin = (cost(point), point.accuracy) == (cost(last), last.accuracy)
        if twin or point.accuracy > last.accuracy:
            front.append(point)
    return front


def table(points: Sequence[Point]) -> str:
    """A Markdown table of runs that also reads well as it is; most parameters first.

    It can be printed: what runs and recipes are called is neither markup nor moves a cursor.

    >>> print(table([Point("a", "l1", 1000, 0.9), Point("b", "l1", 2000, 0.8)]))
    | run | recipe | seed | accuracy | parameters | compression | best |
    | :-- | :----- | ---: | -------: | ---------: | ----------: | ---: |
    | b   | l1     |      |  80.00 % |      2,000 |             |      |
    | a   | l1     |      |  90.00 % |      1,000 |             |    * |
    <BLANKLINE>
    * no other run is as accurate with fewer parameters, or more accurate with as many.
    """
    front = pareto(points)
    rows: list[tuple[str, ...]] = [
        ("run", "recipe", "seed", "accuracy", "parameters", "compression", "best")
    ]
    for p in sorted(points, key=lambda p: (-p.nonzero, p.accuracy)):
        accuracy, best = f"{100 * p.accuracy:.2f} %", "*" if p in front else ""
        named = (markdown(text) for text in (p.name, p.recipe, p.summary.get("seed", "")))
        rows.append((*named, accuracy, f"{p.nonzero:,}", p.times, best))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [":" + "-" * (w - 1) for w in widths[:2]] + ["-" * (w - 1) + ":" for w in widths[2:]]
    rows.insert(1, tuple(rule))
    lines = [" | ".join(map("{:{}{}}".format, row, "<<>>>>>", widths)) for row in rows]
    note = "* no other run is as accurate with fewer parameters, or more accurate with as many."
    return "\n".join([*(f"| {line} |" for line in lines), "", note])


def csv_table(points: Sequence[Point]) -> str:
    """A CSV table of runs, as exact as they were written: figures, and settings that differ.

    A text that a spreadsheet would run as a formula begins with an apostrophe.

    >>> summary = {"test/accuracy": 0.9, "params/nonzero": 10}
    >>> print(csv_table([Point("a", "l1", 10, 0.9, summary)]), end="")
    run,recipe,best,test/accuracy,params/nonzero
    a,l1,1,0.9,10
    """
    front = pareto(points)
    figures = list(dict.fromkeys(key for point in points for key in point.summary))
    costs = [name for name in COSTS if any(name in point.costs for point in points)]
    figures += [name for name in costs if name not in figures]
    settings = [key for key in differing(points) if key not in figures]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(map(cell, ["run", "recipe", "best", *figures, *settings]))
    for p in sorted(points, key=lambda p: (-p.nonzero, p.accuracy)):
        told = [p.summary.get(key, p.costs.get(key, "")) for key in figures]
        told += [p.settings.get(key, "") for key in settings]
        writer.writerow(map(cell, [p.name, p.recipe, int(p in front), *told]))
    return lines.getvalue()


def draw(points: Sequence[Point], path: str | Path, accuracy: str = "test accuracy") -> None:
    """Draw accuracy against nonzero parameters: every run, the dense one, the best trade-offs.

    Args:
        points: the runs; at least one.
        path: where the picture goes. Its suffix says what it is: `.png`, `.svg`, `.pdf`.
        accuracy: what that of the points is.

    Raises:
        ValueError: there is no run to draw, or no such kind of picture.
        ImportError: matplotlib is missing.
    """
    if not points:
        raise ValueError("points is empty: there is no run to draw")
    with needing("plots", "a picture"):
        from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state

    # A log axis has no 0: a network with nothing left is shown at 1.
    points = [replace(point, nonzero=max(point.nonzero, 1)) for point in points]
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    _prepare(axes := figure.subplots(), accuracy)
    recipes = sorted({point.recipe for point in points} - {DENSE})
    for recipe, color, marker in zip(recipes, cycle(COLOURS), cycle(MARKERS), strict=False):
        _scatter(axes, points, recipe, color=color, marker=marker, s=46)
    _scatter(axes, points, DENSE, color=INK, marker="*", s=150)
    _draw_front(axes, pareto(points))
    figure.legend(loc="outside right upper", frameon=False, handletextpad=0.4)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # of letters that its font lacks, and boxes will stand for
        warnings.filterwarnings("ignore", r"Glyph|Matplotlib currently does not support")
        figure.savefig(path, dpi=200)


def _prepare(axes: Axes, accuracy: str) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    axes.set(xscale="log", xlabel="nonzero parameters (log scale)", ylabel=accuracy)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g} %")
    axes.grid(color=PALE)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.margins(0.08, 0.1)


def _scatter(axes: Axes, points: Sequence[Point], recipe: str, **style: Any) -> None:
    if ours := [point for point in points if point.recipe == recipe]:
        x, y = [point.nonzero for point in ours], [point.accuracy for point in ours]
        axes.scatter(x, y, label=label(recipe), alpha=0.75, linewidths=0, zorder=3, **style)


def _draw_front(axes: Axes, front: Sequence[Point]) -> None:
    """A staircase: the best accuracy to be had with so many parameters or fewer."""
    right = axes.get_xlim()[1]
    x = [*(point.nonzero for point in front), right]
    y = [*(point.accuracy for point in front), front[-1].accuracy]
    axes.step(x, y, where="post", color=GREY, linewidth=1.2, zorder=2, label="best trade-offs")
    axes.set_xlim(right=right)
    for point in front:
        if point.recipe != DENSE:
            place = (point.nonzero, point.accuracy)
            times = axes.annotate(point.times, place, (-4, 6), textcoords="offset points")
            times.set(ha="right", size="small", color=GREY)
