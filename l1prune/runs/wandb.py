"""Weights & Biases: what a run of the command line tells it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.checks import flat
from l1prune.runs.counts import PRUNABLE
from l1prune.runs.identity import read_id
from l1prune.runs.monitor import Monitor
from l1prune.runs.stages import NONZERO
from l1prune.training.lightning import prefixed
from l1prune.training.loggers import wandb_runs
from l1prune.training.outlets import set_up
from l1prune.weights.files import write_whole

FRONTIER = "frontier"
LEFT = NONZERO


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


def title_of(monitor: Monitor) -> str:
    """What a chart of runs shows.

    >>> title_of(Monitor())
    'Accuracy against prunable weights left'
    """
    words = f"{monitor.words} against {PRUNABLE}"
    return words[0].upper() + words[1:]


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

        table = wandb.Table(columns=[PRUNABLE, monitor.words, "set"], data=rows)
        chart = wandb.plot.scatter(table, PRUNABLE, monitor.words, title_of(monitor))
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
