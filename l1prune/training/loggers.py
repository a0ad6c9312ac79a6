"""What a pruning run tells its loggers besides the numbers of every epoch.

Those go through Lightning's own logging. Here are the x-axis, the table of layers and the final
figures. Weights & Biases is imported only for a `WandbLogger`: a run without one does not pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.training.lightning import is_offline, prefixed
from l1prune.weights.report import SparsityReport

X_AXIS = "params/nonzero"
Y_AXES = ("val/", "test/")
EXTREMES = "val/"
LAYERS = "params/layers"
COLUMNS = ("layer", "shape", "weights", "left", "sparsity")


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
    for logger, run in wandb_runs(loggers):
        for name in names:
            summary = "min,max,last" if name.startswith(EXTREMES) else None
            run.define_metric(
                prefixed(logger, name), step_metric=prefixed(logger, X_AXIS), summary=summary
            )


def log_figures(model: pl.LightningModule, report: SparsityReport, strength: float) -> None:
    """Log what is left and λ as a module logs its metrics; all processes call it together."""
    if model.trainer.barebones:
        return  # which measures the trainer's own speed, and warns of every log
    model.log_dict(
        {
            "params/nonzero": float(report.nonzero),
            "params/sparsity": report.sparsity,
            "prune/strength": strength,
        },
        sync_dist=True,
        reduce_fx="max",  # the same on all processes: unlike a mean, exact
    )


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
    for logger, run in wandb_runs(loggers):
        run.summary.update(
            {prefixed(logger, k): v for k, v in figures.items() if not k.startswith(EXTREMES)}
        )


def wandb_runs(loggers: Iterable[Logger]) -> Iterator[tuple[WandbLogger, Any]]:
    """The runs of Weights & Biases among the loggers, each with its logger."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            set_up(logger)
            yield logger, logger.experiment


def set_up(logger: WandbLogger) -> None:
    """Let wandb read its environment before Lightning starts a run: only then can it be silent."""
    import wandb

    wandb.setup(wandb.Settings(mode="offline") if is_offline(logger) else None)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
