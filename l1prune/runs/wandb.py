"""Runs that Weights & Biases keeps: read as points, and shown there in a report.

Reading goes through wandb's public API, the report through `wandb-workspaces`, which the extra
`workspaces` brings. Nothing here changes a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from l1prune.runs.frontier import pareto, table
from l1prune.runs.points import DENSE, Point

TITLE = "Accuracy against weights left"
LEFT, ACCURACY = "params/nonzero", "test/accuracy"


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
            summary = dict(run.summary)
            left, accuracy = summary.get(LEFT), summary.get(ACCURACY)
            if not isinstance(left, int) or not isinstance(accuracy, int | float):
                problems.append(f"{run.name} ({run.state}): has no {LEFT} or no {ACCURACY} yet")
                continue
            recipe = str(run.config.get("labels.prune") or DENSE)
            points.append(Point(str(run.name), recipe, left, float(accuracy), summary))
    return points, problems


def publish(project: str, points: Sequence[Point]) -> str:
    """Make a report on a project: the best trade-offs in a table, charts of all its runs.

    The charts are alive: runs that are added later appear in them. The table is of today.

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
    best = "Best trade-offs, as of when this report was made:"
    grid = wr.PanelGrid(
        runsets=[wr.Runset(entity=entity, project=name, name="all runs")], panels=_panels(wr)
    )
    blocks = [wr.H1(TITLE), grid, wr.MarkdownBlock(f"{best}\n\n{table(pareto(points))}")]
    report = wr.Report(entity=entity, project=name, title=TITLE, blocks=blocks, width="fluid")
    with _explaining(wandb, project):
        return str(report.save().url)


def _panels(wr: Any) -> list[Any]:
    left, accuracy = wr.SummaryMetric(LEFT), wr.SummaryMetric(ACCURACY)
    sparsity = wr.Config("prune.threshold.sparsity")
    wide, half, other = ({"x": x, "y": y, "w": w, "h": 8} for x, y, w in _PLACES)
    return [
        wr.ScatterPlot(title=TITLE, x=left, y=accuracy, log_x=True, layout=wr.Layout(**wide)),
        wr.LinePlot(
            title="Validation accuracy",
            x="trainer/global_step",
            y=["val/accuracy"],
            layout=wr.Layout(**half),
        ),
        wr.LinePlot(
            title="Weights left",
            x="trainer/global_step",
            y=[LEFT],
            log_y=True,
            layout=wr.Layout(**other),
        ),
        wr.ParallelCoordinatesPlot(
            columns=[
                wr.ParallelCoordinatesPlotColumn(metric) for metric in (sparsity, left, accuracy)
            ],
            layout=wr.Layout(x=0, y=16, w=24, h=8),
        ),
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
