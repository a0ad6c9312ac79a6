"""What a run leaves behind, read again.

A run is a directory with a `summary.json`; what is read from it and its neighbours is a `Point`.
"""

from __future__ import annotations

import math
import os.path
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as shortly
from typing import Any, TypeVar

from l1prune.checks import flat, is_number, is_whole
from l1prune.runs.costs import FILE, FOLDER, read_costs
from l1prune.runs.files import DOCUMENT, find, read_json, read_rows, read_yaml
from l1prune.weights.report import Layer, layers_of

SUMMARY = "summary.json"
CONFIG = "config.yaml"
LAYERS = "report.csv"
HISTORY = "history.csv"
NONZERO = "params/nonzero"
DENSE = "dense"
T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    """One run on the plane of parameters and accuracy.

    Attributes:
        name: the run's directory.
        recipe: how it was pruned; "dense" when it was not.
        nonzero: prunable weights that are not exactly zero.
        accuracy: on the test set, from 0 to 1.
        summary: all that the run's `summary.json` says.
        settings: its `config.yaml`, flat, as {"prune.threshold.sparsity": 0.95}; without what
            changes no result: the logger, and the folders it was given.
        layers: what is left of each layer, from its `report.csv`.
        history: its figures by name, one an epoch, from its `history.csv`; NaN or None where
            they are not known.
        costs: what a person pays for the network, by the names in `costs.COSTS`, from its
            `deploy/deploy.json`.
        unread: which of its files could not be read, and why; those that are missing are not told.
    """

    name: str
    recipe: str
    nonzero: int
    accuracy: float
    summary: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    layers: Sequence[Layer] = field(default=(), compare=False, repr=False)
    history: Mapping[str, Sequence[float | None]] = field(
        default_factory=dict, compare=False, repr=False
    )
    costs: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    unread: Sequence[str] = field(default=(), compare=False, repr=False)

    @property
    def times(self) -> str:
        """How many times fewer weights than there could be, as "20×"; empty where not known."""
        prunable: Any = self.summary.get("params/prunable")
        known = is_whole(prunable, 1) and self.nonzero
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
        files = find(path, SUMMARY) if path.is_dir() else [path] if path.name == SUMMARY else []
        found.update({file.parent.resolve(): file.parent for file in files})
    return sorted(found.values())


def read_point(run_dir: str | Path) -> Point:
    """Read one run.

    Args:
        run_dir: the directory with its `summary.json`. Whatever else it should hold may be missing
            or broken: then the point has nothing of it.

    Raises:
        FileNotFoundError: there is no `summary.json`.
        ValueError: it is not JSON, or a figure in it is missing or impossible.
    """
    run_dir = Path(run_dir)
    file = run_dir / SUMMARY
    try:
        summary = read_json(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: missing; a run writes it when it ends") from None
    try:
        nonzero, accuracy = figures(summary, "test/accuracy")
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    unread: list[str] = []
    nothing: dict[str, Any] = {}
    config = _or(_mapping, run_dir / CONFIG, nothing, unread)
    return Point(
        name=run_dir.resolve().name,
        recipe=_recipe(run_dir, config, summary, unread),
        nonzero=nonzero,
        accuracy=accuracy,
        summary=summary,
        settings=settings(config),
        layers=_or(read_layers, run_dir / LAYERS, (), unread),
        history=_or(read_history, run_dir / HISTORY, {}, unread),
        costs=_or(read_costs, run_dir / FOLDER / FILE, {}, unread),
        unread=unread,
    )


def figures(summary: Any, accuracy: str) -> tuple[int, float]:
    """The two figures that a run is compared by: weights left, and how accurate it is.

    Args:
        summary: what a run said at its end.
        accuracy: the name of the figure that says how accurate.

    Raises:
        ValueError: one of them is missing or impossible.

    >>> figures({"params/nonzero": 50, "test/accuracy": 0.97}, "test/accuracy")
    (50, 0.97)
    """
    if not isinstance(summary, Mapping):
        raise ValueError(f"must hold an object, but holds a {type(summary).__name__}")
    for key in (NONZERO, accuracy):
        if key not in summary:
            raise ValueError(f"{key!r} is missing")
    left, share = summary[NONZERO], summary[accuracy]
    if not is_whole(left, 0):
        raise ValueError(f"{NONZERO!r} must be a whole number, but is {shortly(left)}")
    if not is_number(share, 0, 1):
        raise ValueError(f"{accuracy!r} must be from 0 to 1, but is {shortly(share)}")
    return left, share


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


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What can change the result of a run, flat: not who took notes, nor where.

    >>> settings({"run_dir": "a", "seed": 3, "data": {"path": "a/b", "shape": [1, 8, 8]}})
    {'seed': 3, 'data.shape': '[1, 8, 8]'}
    """
    place = str(config.get("run_dir") or "")
    return {
        key: _plain(value)
        for key, value in flat(config).items()
        if not key.startswith("logger.") and not (place and place in str(value))
    }


def differing(points: Sequence[Point]) -> list[str]:
    """The settings that tell runs apart, beyond what their recipe says; the seed last.

    Of settings that always change together the shortest name is enough. A setting of pruning that
    is the same in all runs of a recipe goes by the recipe's name.

    >>> runs = [Point("a", "l1", 1, 0.9, settings={"seed": n, "data.seed": n}) for n in (0, 1)]
    >>> differing(runs)
    ['seed']
    """
    keys = {key for point in points for key in point.settings}
    chosen: dict[tuple[str, ...], str] = {}
    for key in sorted(keys, key=lambda key: (key.count("."), key)):
        column = tuple(
            repr(point.settings[key]) if key in point.settings else "" for point in points
        )
        by_recipe = {(point.recipe, value) for point, value in zip(points, column, strict=True)}
        recipes = len({recipe for recipe, _ in by_recipe})
        told = key.startswith("prune.") and len(by_recipe) == recipes
        if len(set(column)) > 1 and not told:
            chosen.setdefault(column, key)
    return sorted(chosen.values(), key=lambda key: (key == "seed", not key.startswith("prune.")))


def read_history(file: str | Path) -> dict[str, Sequence[float]]:
    """Read what `History` wrote: the figures of each epoch, column by column; NaN where unknown.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers.
    """
    columns: dict[str, array[float]] = {"epoch": array("d")}
    for epoch, row in enumerate(read_epochs(file)):
        for name in row.keys() - columns.keys():
            columns[name] = array("d", [math.nan]) * epoch
        for name, column in columns.items():
            column.append(row.get(name, math.nan))
    return dict(columns)


def read_epochs(file: str | Path) -> Iterator[dict[str, float]]:
    """Read what `History` wrote, epoch by epoch: what is known of each, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers.
    """
    rows = read_rows(file)
    names = next(rows, ["epoch"])
    if "epoch" not in names:  # against which the others are drawn
        raise ValueError(f"{file}: not a table of figures by epoch: no column is called 'epoch'")
    for row in rows:
        try:
            known = {name: float(text) for name, text in zip(names, row, strict=True) if text}
        except ValueError as error:
            raise ValueError(f"{file}: not a table of figures by epoch: {error}") from error
        yield known


def read_layers(file: str | Path) -> tuple[Layer, ...]:
    """Read what `SparsityReport.to_csv` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such table.
    """
    rows = list(read_rows(file, DOCUMENT))
    try:
        return layers_of(rows)
    except ValueError as error:
        raise ValueError(f"{file}: not a table of layers: {error}") from error


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float)) else str(value)


def _recipe(
    run_dir: Path, config: Mapping[str, Any], summary: Mapping[str, Any], unread: list[str]
) -> str:
    """The name of the run's prune config where that was left behind; else what the counts say."""
    if isinstance(named := config.get("prune"), str):
        return named
    nothing: dict[str, Any] = {}
    tree: Any = _or(_mapping, run_dir / ".hydra/hydra.yaml", nothing, unread)
    for key in ("hydra", "runtime", "choices", "prune"):
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, str):
        return tree
    return DENSE if summary[NONZERO] == summary.get("params/prunable") else "pruned"


def _mapping(file: Path) -> dict[str, Any]:
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise ValueError(f"{file}: must hold names and values, but holds a {type(tree).__name__}")
    return tree


def _or(read: Callable[[Path], T], file: Path, otherwise: T, unread: list[str]) -> T:
    """What a file says, or something else; if it is there but no use, that is noted."""
    try:
        return read(file)
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        unread.append(str(error))
        return otherwise
