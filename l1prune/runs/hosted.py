"""Runs on Weights & Biases read again, and reported on there.

Reading goes through wandb's public API, the report through `wandb-workspaces`, which the extra
`workspaces` brings. Nothing here changes a run.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from l1prune.checks import is_number
from l1prune.cuts.direction import VALIDATION
from l1prune.runs.costs import COSTS, known_costs
from l1prune.runs.counts import PRUNABLE
from l1prune.runs.files import check_size
from l1prune.runs.groups import by_scale
from l1prune.runs.monitor import Monitor, settled
from l1prune.runs.points import DENSE, Point, judged_point
from l1prune.runs.scale import Scale
from l1prune.runs.settings import settings
from l1prune.runs.stages import NONZERO
from l1prune.runs.tables import table
from l1prune.runs.wandb import title_of

LEFT = NONZERO


def read_hosted(project: str) -> tuple[list[Point], list[str]]:
    """Read the finished runs of a project.

    Args:
        project: `ENTITY/PROJECT`, as in the address of its page.

    Returns:
        the points, named as the runs are, and for each run without the figures a line that says so.

    Raises:
        ValueError: `project` is not of that form, or there is no such project.
        ImportError: `wandb-workspaces` is missing.
        OSError: nobody is logged in, or W&B does not answer.
    """
    _split(project)
    wandb = _import("wandb")
    points, problems = [], []
    with _explaining(wandb, project):
        for run in wandb.Api().runs(project, lazy=False):
            summary, config = dict(run.summary), dict(run.config)
            try:
                check_size(summary)
                points.append(_hosted(str(run.name), summary, config))
            except ValueError as error:
                problems.append(f"{run.name} ({run.state}): {error}")
    return points, problems


def _hosted(name: str, summary: Mapping[str, Any], config: Mapping[str, Any]) -> Point:
    """A point of what W&B holds: of a metric with extremes its last value."""
    figures = {k: v.get("last", v) if hasattr(v, "get") else v for k, v in summary.items()}
    named = {key: config[key] for key in ("monitor", "mode", "seed") if key in config}
    named = {**_found(figures), **named}
    recipe = str(config.get("labels.prune") or DENSE)
    told = settings({key: value for key, value in config.items() if not key.startswith("_")})
    costs = known_costs(figures)
    return judged_point(name, recipe, {**named, **figures}, settings=told, costs=costs)


def _found(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is judged by that has not said it: as a record finds it in what it validated."""
    extremes = {f"{name}.{end}" for name in figures for end in ("min", "max")}
    logged = [n for n, value in figures.items() if is_number(value) and re.match(VALIDATION, n)]
    try:
        monitor = settled(sorted({*logged} - extremes))
    except ValueError:
        return {}
    return {"monitor": monitor.name, "mode": monitor.mode}


def publish(project: str, points: Sequence[Point]) -> str:
    """Make a report on a project: its recipes and sizes in a table, charts of all its runs.

    The charts are alive: runs that are added later appear in them. The table is of today. Runs
    that are judged by different metrics have charts each.

    Args:
        project: `ENTITY/PROJECT`.
        points: its runs; at least one.

    Returns:
        the report's address.

    Raises:
        ValueError, ImportError, OSError: as in `read_hosted`.
    """
    entity, name = _split(project)
    wandb, wr = _import("wandb"), _import("wandb_workspaces.reports.v2")
    blocks: list[Any] = []
    for scale, some in by_scale(points) or [(Scale(Monitor(), True), [])]:
        monitor, tested = scale.monitor, scale.tested
        panels = [*_panels(wr, monitor, tested), *_priced(wr, some, monitor, tested)]
        runset = wr.Runset(entity=entity, project=name, name="all runs")
        blocks += [wr.H1(title_of(monitor)), wr.PanelGrid(runsets=[runset], panels=panels)]
    title = blocks[0].text if len(blocks) == 2 else f"Networks against {PRUNABLE}"
    text = f"As of when this report was made:\n\n{table(points)}"
    blocks.append(wr.MarkdownBlock(text))
    report = wr.Report(entity=entity, project=name, title=title, blocks=blocks, width="fluid")
    with _explaining(wandb, project):
        return str(report.save().url)


def _metric(monitor: Monitor, tested: bool) -> str:
    return monitor.test if tested else monitor.name


def _panels(wr: Any, monitor: Monitor, tested: bool) -> list[Any]:
    left, quality = wr.SummaryMetric(LEFT), wr.SummaryMetric(_metric(monitor, tested))
    sparsity = wr.Config("prune.threshold.sparsity")
    wide, half, other = ({"x": x, "y": y, "w": w, "h": 8} for x, y, w in _PLACES)
    return [
        wr.ScatterPlot(
            title=title_of(monitor), x=left, y=quality, log_x=True, layout=wr.Layout(**wide)
        ),
        wr.LinePlot(
            title=f"Validation {monitor.words}",
            x="trainer/global_step",
            y=[monitor.name],
            layout=wr.Layout(**half),
        ),
        wr.LinePlot(
            title=PRUNABLE.capitalize(),
            x="trainer/global_step",
            y=[LEFT],
            log_y=True,
            layout=wr.Layout(**other),
        ),
        wr.ParallelCoordinatesPlot(
            columns=[
                wr.ParallelCoordinatesPlotColumn(metric) for metric in (sparsity, left, quality)
            ],
            layout=wr.Layout(x=0, y=16, w=24, h=8),
        ),
    ]


def _priced(wr: Any, points: Sequence[Point], monitor: Monitor, tested: bool) -> list[Any]:
    """What they are judged by against each cost that some of the runs have on W&B."""
    known = [name for name in COSTS if any(name in point.costs for point in points)]
    return [
        wr.ScatterPlot(
            title=title_of(monitor).replace(PRUNABLE, COSTS[name]),
            x=wr.SummaryMetric(name),
            y=wr.SummaryMetric(_metric(monitor, tested)),
            log_x=True,
            layout=wr.Layout(x=12 * (number % 2), y=24 + 8 * (number // 2), w=12, h=8),
        )
        for number, name in enumerate(known)
    ]


_PLACES = ((0, 0, 24), (0, 8, 12), (12, 8, 12))


def _split(project: str) -> tuple[str, str]:
    entity, _, name = project.partition("/")
    if not entity or not name or "/" in name:
        raise ValueError(f"{project!r}: give a W&B project as ENTITY/PROJECT, like my-team/l1prune")
    return entity, name


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        missing = module.partition(".")[0]
        raise ImportError(f"{missing} is missing: pip install 'l1prune[workspaces]'") from None


@contextmanager
def _explaining(wandb: Any, project: str) -> Iterator[None]:
    """Say in a sentence what W&B refuses, and what to do about it."""
    try:
        yield
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise OSError(f"W&B knows nobody here: `wandb login` first ({error})") from error
    except wandb.Error as error:
        raise OSError(f"W&B, asked for {project}: {error}") from error
    except ValueError as error:
        raise ValueError(f"W&B, asked for {project}: {error}") from error
