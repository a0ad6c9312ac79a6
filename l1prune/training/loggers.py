"""What a run tells its loggers besides the numbers of every epoch.

Those go through Lightning's own logging, over time. Here are what the run is, the frontier (quality
against the weights left, a chart of its own), the table of layers and the final figures. Weights &
Biases is imported only for a `WandbLogger`: a run without one does not pay.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from l1prune.cuts.direction import EVALUATION
from l1prune.training.lightning import given_name, prefixed
from l1prune.training.naming import global_seed, run_name
from l1prune.training.outlets import X_AXIS as X_AXIS
from l1prune.training.outlets import outlets, set_up
from l1prune.training.picture import drawn
from l1prune.training.validations import Validations, is_validation
from l1prune.weights.report import SparsityReport

FRONTIER = "frontier/"
"""Begins the names of what is drawn against the weights left."""
LAYERS = "params/layers"
COLUMNS = ("layer", "shape", "weights", "left", "sparsity", "why left alone")


@rank_zero_only
def introduce(
    loggers: Iterable[Logger],
    recipe: str,
    arguments: Mapping[str, str],
    known: Container[str] = (),
) -> None:
    """Say what the run is: its name, its recipe as a tag, and what the pruning was told.

    A name and tags that a person gave are kept, and so are settings that are known already: MLflow
    refuses to be told another value.

    Args:
        loggers: those of the trainer.
        recipe: what it is called.
        arguments: of the callback, in words; those that are None were not given, and are not told.
        known: names of settings that a module or its data tell.
    """
    given = {name: text for name, text in arguments.items() if text != repr(None)}
    told: dict[str, Any] = {f"prune.{name}": _brief(text) for name, text in given.items()}
    told |= {"labels.prune": recipe, "seed": global_seed()}
    told = {name: value for name, value in told.items() if name not in known}
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            logger.log_hyperparams(told)
    for logger, run in wandb_runs(loggers):
        there = {*run.config.keys()}
        if not any(name.startswith(("prune.", "labels.")) for name in there):
            run.config.update({n: v for n, v in told.items() if n not in there and v is not None})
        run.tags = run.tags or ("l1prune", recipe)
        call(logger, run, run_name(recipe))


def call(logger: WandbLogger, run: Any, name: str) -> None:
    """Name a run of Weights & Biases, unless a person has."""
    if not given_name(logger) and not os.environ.get("WANDB_NAME"):
        run.name = name


@rank_zero_only
def define_axes(loggers: Iterable[Logger], metrics: Iterable[str] = ()) -> None:
    """Draw the frontier's figures against the number of weights left, on Weights & Biases.

    All other metrics keep Lightning's axis, which is time.

    Call it when the run starts, and again with the names of the metrics as they become known.
    Lightning has by then put everything (`*`) on `trainer/global_step`; where two patterns match,
    wandb takes either, in practice Lightning's. A name that is spelled out wins over both, and
    costs nothing to repeat.

    Args:
        loggers: those of the trainer; all but `WandbLogger` are left alone.
        metrics: names of metrics, such as `trainer.callback_metrics`.
    """
    names = [f"{FRONTIER}*", *(FRONTIER + name for name in metrics if re.match(EVALUATION, name))]
    for logger, run in wandb_runs(loggers):
        for name in names:
            run.define_metric(prefixed(logger, name), step_metric=prefixed(logger, X_AXIS))


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
def log_extremes(loggers: Iterable[Logger], validations: Validations) -> None:
    """Put the lowest and the highest of each figure into a Weights & Biases run's summary.

    They are of the networks that have come to their size, as `val/loss.min`: a network under
    pressure is better than it will be once it is cut.
    """
    for logger, run in wandb_runs(loggers):
        for name, (low, high) in validations.extremes().items():
            own = prefixed(logger, name)
            run.summary.update({f"{own}.min": low, f"{own}.max": high})


@rank_zero_only
def log_frontier(loggers: Iterable[Logger], validations: Validations) -> None:
    """Log the frontier of a run that has ended: its points, a table, and a picture.

    On Weights & Biases the points of all runs of a project are on one chart, those of dense ones
    too. Elsewhere the step of a point is the number of weights left.

    Args:
        loggers: those of the trainer.
        validations: of the run.
    """
    points = validations.frontier()
    for nonzero, figures in points:
        log_point(loggers, nonzero, figures)
    rows = [[left, name, value] for left, told in points for name, value in told.items()]
    found = [*outlets(loggers)] if rows else []
    figure = drawn(validations) if found else None
    for outlet in found:
        outlet.table(f"{FRONTIER}points", ("prunable weights left", "figure", "value"), rows)
        if figure is not None:
            outlet.picture(f"{FRONTIER}picture", figure)


@rank_zero_only
def log_point(loggers: Iterable[Logger], nonzero: int, figures: Mapping[str, Any]) -> None:
    """Log one network's place on the frontier.

    Args:
        loggers: those of the trainer.
        nonzero: its weights.
        figures: by name; those of validation and test are told.
    """
    told = {n: float(_number(v)) for n, v in figures.items() if re.match(EVALUATION, n)}
    told = {FRONTIER + name: value for name, value in told.items() if math.isfinite(value)}
    define_axes(loggers, figures)
    for outlet in outlets(loggers) if told else ():
        outlet.point(nonzero, told)


@rank_zero_only
def log_layers(loggers: Iterable[Logger], report: SparsityReport) -> None:
    """Log a table of what is left of each layer, wherever a logger takes such.

    What was left alone follows, with the reason: else the table would not add up to the model.
    """
    rows: list[list[Any]] = [
        [one.name, "×".join(map(str, one.shape)), one.total, one.nonzero, one.sparsity, ""]
        for one in report.layers
    ]
    rows += [[one.name, "", one.total, one.total, 0.0, one.reason] for one in report.others]
    for outlet in outlets(loggers):
        outlet.table(LAYERS, COLUMNS, rows)


@rank_zero_only
def summarise(
    loggers: Iterable[Logger], report: SparsityReport, metrics: Mapping[str, Any] | None = None
) -> None:
    """Tell the final figures: into the summary of a Weights & Biases run, elsewhere as numbers.

    A table of such runs, sorted by `params/nonzero`, compares them. Metrics of validation are in
    that summary already.

    Args:
        loggers: those of the trainer.
        report: the counts of the finished model.
        metrics: its other figures by name, numbers or tensors of one element.
    """
    figures = report.to_dict() | {name: _number(v) for name, v in (metrics or {}).items()}
    numbers = {n: float(v) for n, v in figures.items() if isinstance(v, (int, float))}
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    for outlet in outlets([one for one in loggers if not isinstance(one, WandbLogger)]):
        outlet.final(finite)
    for outlet in outlets([one for one in loggers if isinstance(one, WandbLogger)]):
        outlet.final({n: v for n, v in figures.items() if not is_validation(n)})


@rank_zero_only
def conclude(loggers: Iterable[Logger], recipe: str, report: SparsityReport) -> None:
    """Name the runs of Weights & Biases by what they have come to."""
    for logger, run in wandb_runs(loggers):
        call(logger, run, run_name(recipe, report.nonzero, report.prunable))


def wandb_runs(loggers: Iterable[Logger]) -> Iterator[tuple[WandbLogger, Any]]:
    """The runs of Weights & Biases among the loggers, each with its logger."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            set_up(logger)
            yield logger, logger.experiment


def _brief(text: str, most: int = 80) -> str:
    """Fifty rounds are no column of a table: of a long text the beginning and the end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
