"""Runs on Weights & Biases: what a run of the command line tells it, and what is read from there.

Reading goes through wandb's public API, the report through `wandb-workspaces`, which the extra
`workspaces` brings. Nothing here changes a run.
"""

from __future__ import annotations

import importlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.checks import flat
from l1prune.runs.costs import COSTS, known_costs
from l1prune.runs.files import check_size
from l1prune.runs.frontier import pareto, table
from l1prune.runs.identity import read_id
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import DENSE, NONZERO, Point, figures
from l1prune.training.lightning import prefixed
from l1prune.training.loggers import set_up, wandb_runs
from l1prune.weights.files import write_whole

TITLE = "Accuracy against weights left"
FRONTIER = "frontier"
LEFT, ACCURACY = NONZERO, "test/accuracy"


def wandb_logger(
    save_dir: str | Path, tags: Iterable[str | None] = (), **settings: Any
) -> WandbLogger:
    """A `WandbLogger` for a run's own directory: started there again, the same run goes on.

    The run's id is drawn once and kept in `save_dir/wandb/id`. Online, W&B takes the run up where
    it stopped. Offline, every start leaves a folder of its own, and `wandb sync` puts those of one
    id together, in the order in which they were made.

    Args:
        save_dir: the run's directory.
        tags: labels of the run; None, for a choice that was not made, is left out.
        settings: what else `WandbLogger` and `wandb.init` take. An `id`, or `WANDB_RUN_ID` in the
            environment, as `wandb agent` sets it, wins over the one that is kept.
    """
    if "WANDB_RUN_ID" not in os.environ:
        settings = {"id": kept_id(Path(save_dir) / "wandb" / "id")} | settings
    return WandbLogger(save_dir=save_dir, tags=[tag for tag in tags if tag], **settings)


def kept_id(file: Path) -> str:
    """The id in a file; drawn, and written there, if the file has none, or half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name("id.lock")):  # of several processes one draws it
        if not read_id(file):
            write_whole(file, lambda part: part.write_text(secrets.token_hex(4)))
        return read_id(file)


@rank_zero_only
def log_config(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Log a run's resolved configuration, plain values only, as its hyperparameters.

    On Weights & Biases every setting stands alone, under the name that it has on the command line
    (`prune.threshold.sparsity`), to filter and group runs by.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            set_up(logger)
            logger.log_hyperparams(flat(config))
        else:
            logger.log_hyperparams(dict(config))


@rank_zero_only
def log_frontier(
    loggers: Iterable[Logger],
    validated: Iterable[tuple[int, float]],
    tested: tuple[int, float] | None,
    monitor: Monitor = Monitor(),  # noqa: B008  # frozen
) -> None:
    """Chart what a run is judged by against the weights left, over the run, on Weights & Biases.

    Where several runs are shown, the chart has the points of all of them.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        validated: weights left and the metric on validation, epoch by epoch.
        tested: weights left and the metric on test of the finished model; None where there is none.
        monitor: that metric.
    """
    rows = [[*point, "val"] for point in validated]
    rows += [] if tested is None else [[*tested, "test"]]
    for logger, run in wandb_runs(loggers):
        import wandb

        table = wandb.Table(columns=["weights left", monitor.words, "set"], data=rows)
        title = f"{monitor.words} against weights left"
        chart = wandb.plot.scatter(table, "weights left", monitor.words, title)
        run.log({prefixed(logger, FRONTIER): chart})


@rank_zero_only
def log_model(
    loggers: Iterable[Logger], file: str | Path, metadata: Mapping[str, Any], alias: str
) -> None:
    """Keep a model's file as a version of the artifact `model-ID` of a Weights & Biases run.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        file: the weights.
        metadata: what is known of them: sparsity, nonzero parameters, accuracy.
        alias: the name of the version, such as "best". The newest is "latest" as well.
    """
    for _, run in wandb_runs(loggers):
        import wandb

        model = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(metadata))
        model.add_file(str(file))
        run.log_artifact(model, aliases=[alias])


def log_costs(run_dir: str | Path, costs: Mapping[str, float], project: str, offline: bool) -> None:
    """Put what a deployed network costs into the summary of a run that has ended.

    Args:
        run_dir: the run's directory; without an id kept in it nothing is told.
        costs: by name.
        project: that the run is in.
        offline: whether the run is kept on this machine, until `wandb sync`.
    """
    folder = Path(run_dir) / "wandb"
    if not read_id(folder / "id"):
        return
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    for name in ("cache", "data"):  # nothing outside the run's own folder
        os.environ.setdefault(f"WANDB_{name.upper()}_DIR", str(folder / name))
    settings = wandb.Settings(console="off", silent=offline)
    logger = wandb_logger(run_dir, project=project, offline=offline, settings=settings)
    for _, run in wandb_runs([logger]):
        run.summary.update(dict(costs))
    finish([logger])


@rank_zero_only
def finish(loggers: Iterable[Logger]) -> None:
    """End the runs that Weights & Biases would otherwise go on with in a sweep's next job."""
    for _, run in wandb_runs(loggers):
        run.finish()


def abandon() -> None:
    """Mark the run that is open on Weights & Biases, if there is one, as failed, and end it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)


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
            if not {LEFT, ACCURACY} <= summary.keys():
                problems.append(f"{run.name} ({run.state}): has no {LEFT} or no {ACCURACY} yet")
                continue
            try:
                check_size(summary)
                left, accuracy = figures(summary, ACCURACY)
            except ValueError as error:
                problems.append(f"{run.name} ({run.state}): {error}")
                continue
            recipe = str(run.config.get("labels.prune") or DENSE)
            priced = known_costs(summary)
            points.append(
                Point(str(run.name), recipe, left, float(accuracy), summary, costs=priced)
            )
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
        runsets=[wr.Runset(entity=entity, project=name, name="all runs")],
        panels=[*_panels(wr), *_priced(wr, points)],
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


def _priced(wr: Any, points: Sequence[Point]) -> list[Any]:
    """Accuracy against each cost that some of the runs have on W&B."""
    known = [name for name in COSTS if any(name in point.costs for point in points)]
    return [
        wr.ScatterPlot(
            title=f"Accuracy against {COSTS[name]}",
            x=wr.SummaryMetric(name),
            y=wr.SummaryMetric(ACCURACY),
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
