"""What a pruning run tells its loggers besides the numbers of every epoch.

Those go through Lightning's own logging. Here are the x-axis, the table of layers, the chart of
accuracy against weights, the configuration, the trained model and the final figures. Weights &
Biases is imported only for a `WandbLogger`: a run without one does not pay for it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.runs.points import flat
from l1prune.weights.report import SparsityReport

X_AXIS = "params/nonzero"
Y_AXES = ("val/", "test/")
EXTREMES = "val/"
LAYERS = "params/layers"
COLUMNS = ("layer", "shape", "weights", "left", "sparsity")
FRONTIER = "frontier"


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
        settings = {"id": _kept_id(Path(save_dir) / "wandb" / "id")} | settings
    return WandbLogger(save_dir=save_dir, tags=[tag for tag in tags if tag], **settings)


def _kept_id(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x") as new:  # of several processes one is first
            new.write(secrets.token_hex(4))
    except FileExistsError:
        pass
    return file.read_text()


@rank_zero_only
def define_axes(loggers: Iterable[Logger], metrics: Iterable[str] = ()) -> None:
    """Draw all `val/*` and `test/*` against the number of weights left, on Weights & Biases.

    In the run's summary a metric of `val/` that is spelled out has its lowest, its highest and its
    last value, as `val/loss.min`.

    Call it when the run starts, and again with the names of the metrics as they become known.
    Lightning has by then put everything (`*`) on `trainer/global_step`; where two patterns match,
    wandb takes either, in practice Lightning's. A name that is spelled out wins over both, and
    costs nothing to repeat. All other metrics keep Lightning's axis.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        metrics: names of metrics, such as `trainer.callback_metrics`.
    """
    names = [f"{group}*" for group in Y_AXES] + [m for m in metrics if m.startswith(Y_AXES)]
    for logger, run in _wandb_runs(loggers):
        for name in names:
            summary = "min,max,last" if name.startswith(EXTREMES) else None
            run.define_metric(_key(logger, name), step_metric=_key(logger, X_AXIS), summary=summary)


@rank_zero_only
def log_config(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Log a run's resolved configuration, plain values only, as its hyperparameters.

    On Weights & Biases every setting stands alone, under the name that it has on the command line
    (`prune.threshold.sparsity`), to filter and group runs by.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _set_up(logger)
            logger.log_hyperparams(flat(config))
        else:
            logger.log_hyperparams(dict(config))


@rank_zero_only
def log_layers(loggers: Iterable[Logger], report: SparsityReport) -> None:
    """Log what is left of each layer: a table on Weights & Biases, text on TensorBoard."""
    rows = [
        [layer.name, "×".join(map(str, layer.shape)), layer.total, layer.nonzero, layer.sparsity]
        for layer in report.layers
    ]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(LAYERS, columns=list(COLUMNS), data=rows)
        elif isinstance(logger, TensorBoardLogger):
            lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
            text = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
            logger.experiment.add_text(LAYERS, text)


@rank_zero_only
def summarise(
    loggers: Iterable[Logger], report: SparsityReport, metrics: Mapping[str, Any] | None = None
) -> None:
    """Put the final figures into the summary of a Weights & Biases run.

    A table of such runs, sorted by `params/nonzero`, compares them. Metrics of `val/` are there
    already, with their extremes: see `define_axes`.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        report: the counts of the finished model.
        metrics: its other figures by name, numbers or tensors of one element.
    """
    figures = report.to_dict() | {name: _number(v) for name, v in (metrics or {}).items()}
    for logger, run in _wandb_runs(loggers):
        run.summary.update(
            {_key(logger, k): v for k, v in figures.items() if not k.startswith(EXTREMES)}
        )


@rank_zero_only
def log_frontier(
    loggers: Iterable[Logger], validated: Iterable[tuple[int, float]], tested: tuple[int, float]
) -> None:
    """Chart accuracy against the weights left, over the run, on Weights & Biases.

    Where several runs are shown, the chart has the points of all of them.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        validated: weights left and validation accuracy, epoch by epoch.
        tested: weights left and test accuracy of the finished model.
    """
    rows = [[*point, "val"] for point in validated] + [[*tested, "test"]]
    for logger, run in _wandb_runs(loggers):
        import wandb

        table = wandb.Table(columns=["weights left", "accuracy", "set"], data=rows)
        title = "Accuracy against weights left"
        chart = wandb.plot.scatter(table, "weights left", "accuracy", title)
        run.log({_key(logger, FRONTIER): chart})


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
    for _, run in _wandb_runs(loggers):
        import wandb

        model = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(metadata))
        model.add_file(str(file))
        run.log_artifact(model, aliases=[alias])


@rank_zero_only
def finish(loggers: Iterable[Logger]) -> None:
    """End the runs that Weights & Biases would otherwise go on with in a sweep's next job."""
    for _, run in _wandb_runs(loggers):
        run.finish()


def abandon() -> None:
    """Mark the run that is open on Weights & Biases, if there is one, as failed, and end it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)


def _wandb_runs(loggers: Iterable[Logger]) -> Iterator[tuple[WandbLogger, Any]]:
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _set_up(logger)
            yield logger, logger.experiment


def _set_up(logger: WandbLogger) -> None:
    """Let wandb read its environment before Lightning starts a run: only then can it be silent."""
    import wandb

    wandb.setup(wandb.Settings(mode="offline") if logger._offline else None)


def _key(logger: WandbLogger, name: str) -> str:
    """The name under which `logger` stores a metric: it may have been given a prefix of its own."""
    return f"{logger._prefix}{logger.LOGGER_JOIN_CHAR}{name}" if logger._prefix else name


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
