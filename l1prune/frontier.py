"""Many runs, one curve: accuracy against the number of weights left.

A run is a directory with a `summary.json`; what is read from it is a `Point`.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUMMARY = "summary.json"
DENSE = "dense"

# Okabe and Ito's colours for colour-blind readers; one marker more, so that 42 recipes look unlike.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY, PALE = "#222222", "#777777", "#e6e6e6"


@dataclass(frozen=True)
class Point:
    """One run on the plane of parameters and accuracy.

    Attributes:
        name: the run's directory.
        recipe: how it was pruned; "dense" when it was not.
        nonzero: prunable weights that are not exactly zero.
        accuracy: on the test set, from 0 to 1.
        summary: all that the run's `summary.json` says.
    """

    name: str
    recipe: str
    nonzero: int
    accuracy: float
    summary: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def times(self) -> str:
        """How many times fewer weights than there could be, as "20×"; empty where not known."""
        prunable: Any = self.summary.get("params/prunable")
        known = isinstance(prunable, int) and self.nonzero
        return f"{prunable / self.nonzero:,.1f}×" if known else ""


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Find the run directories at or under some paths, each once.

    Args:
        paths: run directories, folders of them, or their `summary.json`; other files are no runs.

    Raises:
        FileNotFoundError: one of the paths does not exist.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or directory")
        files = path.rglob(SUMMARY) if path.is_dir() else [path] if path.name == SUMMARY else []
        found.update({file.parent.resolve(): file.parent for file in files})
    return sorted(found.values())


def read_point(run_dir: str | Path) -> Point:
    """Read one run.

    Args:
        run_dir: the directory with its `summary.json` and, if there is one, its `config.yaml`.

    Raises:
        FileNotFoundError: there is no `summary.json`.
        ValueError: it is not JSON, or a figure in it is missing or impossible.
    """
    run_dir = Path(run_dir)
    file = run_dir / SUMMARY
    try:
        summary = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: missing; a run writes it when it ends") from None
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); was the run cut off?") from error
    if not isinstance(summary, dict):
        raise ValueError(f"{file}: must hold an object, but holds a {type(summary).__name__}")
    for key in ("params/nonzero", "test/accuracy"):
        if key not in summary:
            raise ValueError(f"{file}: {key!r} is missing")
    nonzero, accuracy = summary["params/nonzero"], summary["test/accuracy"]
    if type(nonzero) is not int or nonzero < 0:
        raise ValueError(f"{file}: 'params/nonzero' must be a whole number, but is {nonzero!r}")
    if type(accuracy) not in (int, float) or not 0 <= accuracy <= 1:
        raise ValueError(f"{file}: 'test/accuracy' must be from 0 to 1, but is {accuracy!r}")
    return Point(run_dir.resolve().name, _recipe(run_dir, summary), nonzero, accuracy, summary)


def read_points(run_dirs: Iterable[str | Path]) -> tuple[list[Point], list[str]]:
    """Read many runs, some of which may be broken.

    Returns:
        the points, named by where they are in the folder that they share, and for each run that
        could not be read a line that says which and why.
    """
    points: dict[Path, Point] = {}
    problems = []
    for run_dir in run_dirs:
        try:
            points[Path(run_dir).resolve()] = read_point(run_dir)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if len(points) > 1:
        shared = os.path.commonpath(points)
        points = {run: replace(p, name=str(run.relative_to(shared))) for run, p in points.items()}
    return list(points.values()), problems


def pareto(points: Iterable[Point]) -> list[Point]:
    """The best trade-offs, smallest first: the points that no other point beats.

    To beat a point is to be as good in both, fewer weights and higher accuracy, and better in one.
    So points that are equal in both stay or go together.

    >>> runs = [Point("a", "l1", 10, 0.9), Point("b", "l1", 20, 0.9), Point("c", "l1", 30, 0.95)]
    >>> [point.name for point in pareto(runs)]
    ['a', 'c']
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.nonzero, -p.accuracy)):
        twin = front and (point.nonzero, point.accuracy) == (front[-1].nonzero, front[-1].accuracy)
        if not front or twin or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def table(points: Sequence[Point]) -> str:
    """A Markdown table of runs that also reads well as it is; most parameters first.

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
        seed = str(p.summary.get("seed", ""))
        rows.append((p.name, p.recipe, seed, accuracy, f"{p.nonzero:,}", p.times, best))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [":" + "-" * (w - 1) for w in widths[:2]] + ["-" * (w - 1) + ":" for w in widths[2:]]
    rows.insert(1, tuple(rule))
    lines = [" | ".join(map("{:{}{}}".format, row, "<<>>>>>", widths)) for row in rows]
    note = "* no other run is as accurate with fewer parameters, or more accurate with as many."
    return "\n".join([*(f"| {line} |" for line in lines), "", note])


def draw(points: Sequence[Point], path: str | Path) -> None:
    """Draw accuracy against nonzero parameters: every run, the dense one, the best trade-offs.

    Args:
        points: the runs; at least one.
        path: where the picture goes. Its suffix says what it is: `.png`, `.svg`, `.pdf`.

    Raises:
        ValueError: there is no run to draw, or no such kind of picture.
    """
    if not points:
        raise ValueError("points is empty: there is no run to draw")
    from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state

    # A log axis has no 0: a network with nothing left is shown at 1.
    points = [replace(point, nonzero=max(point.nonzero, 1)) for point in points]
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    _prepare(axes := figure.subplots())
    recipes = sorted({point.recipe for point in points} - {DENSE})
    for recipe, color, marker in zip(recipes, cycle(COLOURS), cycle(MARKERS), strict=False):
        _scatter(axes, points, recipe, color=color, marker=marker, s=46)
    _scatter(axes, points, DENSE, color=INK, marker="*", s=150)
    _draw_front(axes, pareto(points))
    figure.legend(loc="outside right upper", frameon=False, handletextpad=0.4)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def _prepare(axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    axes.set(xscale="log", xlabel="nonzero parameters (log scale)", ylabel="test accuracy")
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
        axes.scatter(x, y, label=recipe, alpha=0.75, linewidths=0, zorder=3, **style)


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
            label = axes.annotate(point.times, place, (-4, 6), textcoords="offset points")
            label.set(ha="right", size="small", color=GREY)


def _recipe(run_dir: Path, summary: Mapping[str, Any]) -> str:
    """The name of the run's prune config where that was left behind; else what the counts say."""
    everything = summary["params/nonzero"] == summary.get("params/prunable")
    named = _lookup(run_dir / "config.yaml", "prune")
    chosen = _lookup(run_dir / ".hydra/hydra.yaml", "hydra", "runtime", "choices", "prune")
    known = (name for name in (named, chosen) if isinstance(name, str))
    return next(known, DENSE if everything else "pruned")


def _lookup(file: Path, *keys: str) -> Any:
    """A value in a YAML file; None if that file is missing or no use, as a run can do without."""
    try:
        tree = yaml.safe_load(file.read_bytes())
    except (OSError, ValueError, yaml.YAMLError):
        return None
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
