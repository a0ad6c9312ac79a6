"""What a pruning run tells its loggers besides the numbers of every epoch.

Those go through Lightning's own logging. Here are the x-axis, the table of layers, the
configuration and the final figures. Weights & Biases is imported only for a `WandbLogger`: a run
without one does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.report import SparsityReport

X_AXIS = "params/nonzero"
Y_AXES = ("val/", "test/")
LAYERS = "params/layers"
COLUMNS = ("layer", "shape", "weights", "left", "sparsity")


@rank_zero_only
def define_axes(loggers: Iterable[Logger], metrics: Iterable[str] = ()) -> None:
    """Draw all `val/*` and `test/*` against the number of weights left, on Weights & Biases.

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
            run.define_metric(_key(logger, name), step_metric=_key(logger, X_AXIS))


@rank_zero_only
def log_config(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Log a run's resolved configuration, plain values only, as its hyperparameters."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _set_up(logger)
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

    A table of such runs, sorted by `params/nonzero`, compares them.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        report: the counts of the finished model.
        metrics: its other figures by name, numbers or tensors of one element.
    """
    figures = report.to_dict() | {name: _number(v) for name, v in (metrics or {}).items()}
    for logger, run in _wandb_runs(loggers):
        run.summary.update({_key(logger, name): value for name, value in figures.items()})


@rank_zero_only
def finish(loggers: Iterable[Logger]) -> None:
    """End the runs that Weights & Biases would otherwise go on with in a sweep's next job."""
    for _, run in _wandb_runs(loggers):
        run.finish()


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
