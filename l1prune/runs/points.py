"""What a run leaves behind, read again: of a directory with a `summary.json`, a `Point`."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as shortly
from typing import Any, TypeVar

from l1prune.checks import is_number, is_whole
from l1prune.runs.costs import FILE, FOLDER, LARGEST, read_costs
from l1prune.runs.counts import Count, parameters_of
from l1prune.runs.curves import read_history, read_layers
from l1prune.runs.files import find, read_json, read_yaml
from l1prune.runs.monitor import Monitor
from l1prune.runs.scale import Scale
from l1prune.runs.settings import settings
from l1prune.runs.stages import NONZERO, read_path
from l1prune.runs.summary import monitor_of
from l1prune.weights.report import Layer

SUMMARY, CONFIG = "summary.json", "config.yaml"
LAYERS, HISTORY = "report.csv", "history.csv"
DENSE = "dense"
STAGE = "prune.threshold.stage"
"""The setting that tells the stages of a path apart: the share of zeros that each ends with."""
OF_ALL_STAGES = ("monitor", "mode", "params/total", "params/prunable", "seed")
"""What the summary of a path says of each of its networks."""
T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    """One network on the plane of parameters and of what it is judged by.

    Attributes:
        name: the run's directory; of an earlier stage of a path, the file of its weights.
        recipe: how it was pruned; "dense" when it was not.
        nonzero: prunable weights that are not exactly zero.
        figure: the monitored metric on the test set, or where there is none, on validation.
        summary: all that the run's `summary.json` says.
        settings: its `config.yaml`, flat, as {"prune.threshold.sparsity": 0.95}; without what
            changes no result: the logger, and the folders it was given.
        layers: what is left of each layer, from its `report.csv`.
        history: its figures by name, one an epoch, from its `history.csv`; NaN or None where
            they are not known.
        costs: what a person pays for the network, by the names in `costs.COSTS`, from its
            `deploy/deploy.json`.
        unread: which of its files could not be read, and why; those that are missing are not told.
        monitor: the metric that it is judged by.
        validation: that metric on the validation data, by which networks are chosen.
        tested: whether `figure` is of the test set.
    """

    name: str
    recipe: str
    nonzero: int
    figure: float
    summary: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    layers: Sequence[Layer] = field(default=(), compare=False, repr=False)
    history: Mapping[str, Sequence[float | None]] = field(
        default_factory=dict, compare=False, repr=False
    )
    costs: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    unread: Sequence[str] = field(default=(), compare=False, repr=False)
    monitor: Monitor = field(default_factory=Monitor, repr=False)
    validation: float | None = field(default=None, repr=False)
    tested: bool = field(default=True, repr=False)

    @property
    def judged(self) -> float:
        """What it is chosen by: validation, where that is known."""
        return self.figure if self.validation is None else self.validation

    @property
    def is_validated(self) -> bool:
        """Whether that is of validation."""
        return self.validation is not None or not self.tested

    def on(self, scale: Scale) -> float:
        """The figure that a scale shows, test or validation."""
        return self.figure if scale.tested else self.judged

    def beside(self, scale: Scale) -> float | None:
        """The other one, where it is known."""
        return self.validation if scale.tested else self.figure if self.tested else None

    @property
    def seed(self) -> int | None:
        """The run's seed, where it has said."""
        given: Any = self.summary.get("seed", self.settings.get("seed"))
        return int(given) if is_whole(given, 0) else None

    @property
    def prunable(self) -> int | None:
        """How many weights there could be, where that is known."""
        given: Any = self.summary.get("params/prunable")
        return int(given) if is_whole(given, 1) else None

    @property
    def weights(self) -> Count:
        """The prunable weights left."""
        return Count(self.nonzero, self.prunable)

    @property
    def parameters(self) -> Count:
        """All parameters left."""
        return parameters_of(self.summary, self.nonzero)


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
    """Read one run; of a path, the network that it ends with.

    Args:
        run_dir: the directory with its `summary.json`. Whatever else it should hold may be missing
            or broken: then the point has nothing of it.

    Raises:
        FileNotFoundError: there is no `summary.json`.
        ValueError: it is not JSON, or a figure in it is missing or impossible.
    """
    run_dir = Path(run_dir)
    file = run_dir / SUMMARY
    unread: list[str] = []
    nothing: dict[str, Any] = {}
    try:
        summary = read_json(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: missing; a run writes it when it ends") from None
    try:
        point = judged_point(run_dir.resolve().name, "", summary)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    config = _or(_mapping, run_dir / CONFIG, nothing, unread)
    return replace(
        point,
        recipe=_recipe(run_dir, config, point, unread),
        settings=settings(config),
        layers=_or(read_layers, run_dir / LAYERS, (), unread),
        history=_or(read_history, run_dir / HISTORY, {}, unread),
        costs=_or(read_costs, run_dir / FOLDER / FILE, {}, unread),
        unread=unread,
    )


def judged_point(name: str, recipe: str, summary: Any, **more: Any) -> Point:
    """A point from what a run said at its end.

    Args:
        name: of the run.
        recipe: how it was pruned.
        summary: its figures, and the `monitor` and `mode` that it is judged by: without them,
            `val/accuracy`.
        more: the other fields of a point.

    Raises:
        ValueError: a figure is missing or impossible, or the monitor is none.

    >>> judged_point("a", "l1", {"params/nonzero": 50, "test/accuracy": 0.97}).figure
    0.97
    """
    monitor = monitor_of(summary)
    tested = monitor.test in summary or monitor.name not in summary
    nonzero, figure = figures(summary, monitor.test if tested else monitor.name)
    validation = figures(summary, monitor.name)[1] if monitor.name in summary else None
    return Point(
        name, recipe, nonzero, figure, summary,
        monitor=monitor, validation=validation, tested=tested, **more,
    )  # fmt: skip


def figures(summary: Any, metric: str) -> tuple[int, float]:
    """The two figures that a run is compared by: weights left, and how good it is.

    Args:
        summary: what a run said at its end.
        metric: the name of the figure that says how good.

    Raises:
        ValueError: one of them is missing or impossible.

    >>> figures({"params/nonzero": 50, "test/accuracy": 0.97}, "test/accuracy")
    (50, 0.97)
    """
    if not isinstance(summary, Mapping):
        raise ValueError(f"must hold an object, but holds a {type(summary).__name__}")
    for key in (NONZERO, metric):
        if key not in summary:
            raise ValueError(f"{key!r} is missing")
    left, value = summary[NONZERO], summary[metric]
    if not is_whole(left, 0):
        raise ValueError(f"{NONZERO!r} must be a whole number, but is {shortly(left)}")
    if not is_number(value, -LARGEST, LARGEST):
        raise ValueError(f"{metric!r} must be a finite number, but is {shortly(value)}")
    return left, value


def read_stages(run_dir: str | Path, end: Point) -> list[Point]:
    """All networks that a run came to: those of the stages of a path, the last of them its end.

    Args:
        run_dir: the run's directory.
        end: the point that `read_point` made of it.

    Raises:
        OSError, ValueError: its `frontier.json` cannot be read.
    """
    points = []
    for stage in read_path(run_dir):
        share = {STAGE: round(float(stage["sparsity"]), 4)}
        if stage[NONZERO] == end.nonzero:
            end = replace(end, settings={**end.settings, **share})
            continue
        shared = {name: end.summary[name] for name in OF_ALL_STAGES if name in end.summary}
        name, told = f"{end.name}/{stage['checkpoint']}", {**end.settings, **share}
        points.append(judged_point(name, end.recipe, {**shared, **stage}, settings=told))
    return [*points, end]


def read_points(run_dirs: Iterable[str | Path]) -> tuple[list[Point], list[str]]:
    """Read many runs, some of which may be broken.

    Returns:
        the points, named by where they are in the folder that they share, and for each run that
        could not be read a line that says which and why.
    """
    ends: dict[Path, Point] = {}
    problems = []
    for run_dir in run_dirs:
        try:
            ends[Path(run_dir).resolve()] = read_point(run_dir)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if len(ends) > 1:
        shared = os.path.commonpath(ends)
        ends = {run: replace(p, name=str(run.relative_to(shared))) for run, p in ends.items()}
    points: list[Point] = []
    for run, end in ends.items():
        try:
            points += read_stages(run, end)
        except (OSError, ValueError) as error:
            points.append(end)
            problems.append(str(error))
    return points, problems


def _recipe(run_dir: Path, config: Mapping[str, Any], point: Point, unread: list[str]) -> str:
    """The name of the run's prune config where that was left behind; else what the counts say."""
    nothing: dict[str, Any] = {}
    labels = config.get("labels")
    for named in (config.get("prune"), labels.get("prune") if isinstance(labels, dict) else None):
        if isinstance(named, str):
            return named
    tree: Any = _or(_mapping, run_dir / ".hydra/hydra.yaml", nothing, unread)
    for key in ("hydra", "runtime", "choices", "prune"):
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, str):
        return tree
    return DENSE if point.nonzero == point.prunable else "pruned"


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
