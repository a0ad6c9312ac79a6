"""Outlets: what a logger takes besides numbers over time: tables, pictures, points, final figures.

Which kind of logger it is follows from what its `experiment` can do, so that loggers derived from
those of Lightning, and others that are alike, are served too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from l1prune.checks import six_digits
from l1prune.training.lightning import is_offline, prefixed

X_AXIS = "params/nonzero"
Rows = Sequence[Sequence[Any]]


class Outlet(Protocol):
    """A logger, and how it is told what is no number over time.

    Args:
        logger: of which it is.
    """

    def __init__(self, logger: Any) -> None: ...

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Take a table for people: of a fraction the six digits that count."""
        self.write(name, columns, [[_rounded(cell) for cell in row] for row in rows])

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Take a table as it is."""
        ...

    def picture(self, name: str, figure: Any) -> None:
        """Take a figure of matplotlib."""
        ...

    def point(self, nonzero: int, figures: Mapping[str, float]) -> None:
        """Take a point of the plane of weights left and quality, by the names of its figures."""
        ...

    def final(self, figures: Mapping[str, float]) -> None:
        """Take the figures that a run ends with."""
        ...


class WandbOutlet(Outlet):
    """Weights & Biases: points are a chart of their own, on which all runs of a project are."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        self._logger.log_table(name, columns=list(columns), data=[list(row) for row in rows])

    def picture(self, name: str, figure: Any) -> None:
        return  # its own charts are alive

    def point(self, nonzero: int, figures: Mapping[str, float]) -> None:
        values = {X_AXIS: nonzero, **figures}
        self._logger.experiment.log({prefixed(self._logger, k): v for k, v in values.items()})

    def final(self, figures: Mapping[str, float]) -> None:
        values = {prefixed(self._logger, name): value for name, value in figures.items()}
        self._logger.experiment.summary.update(values)


class _Numbers(Outlet):
    """What is told by numbers: a point's step is the number of weights left."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def point(self, nonzero: int, figures: Mapping[str, float]) -> None:
        self._logger.log_metrics(dict(figures), step=nonzero)

    def final(self, figures: Mapping[str, float]) -> None:
        self._logger.log_metrics({f"final/{name}": value for name, value in figures.items()})


class TensorBoardOutlet(_Numbers):
    """TensorBoard: text, images, and the figures of the hyper-parameters' table."""

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
        self._logger.experiment.add_text(name, text)

    def picture(self, name: str, figure: Any) -> None:
        self._logger.experiment.add_figure(name, figure)

    def final(self, figures: Mapping[str, float]) -> None:
        self._logger.log_hyperparams({}, metrics=dict(figures))


class MLflowOutlet(_Numbers):
    """MLflow: tables and pictures are artifacts of the run."""

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        data = {column: [row[at] for row in rows] for at, column in enumerate(columns)}
        self._logger.experiment.log_table(self._logger.run_id, data, f"{name}.json")

    def picture(self, name: str, figure: Any) -> None:
        self._logger.experiment.log_figure(self._logger.run_id, figure, f"{name}.png")


class CometOutlet(_Numbers):
    """Comet: tables are files of the experiment, pictures are figures."""

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        file = f"{name.replace('/', '-')}.csv"
        self._logger.experiment.log_table(file, [list(row) for row in rows], headers=list(columns))

    def picture(self, name: str, figure: Any) -> None:
        self._logger.experiment.log_figure(figure_name=name, figure=figure)


class FilesOutlet(_Numbers):
    """A logger that keeps files: tables and pictures lie beside its own."""

    def write(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        with open(self._file(f"{name}.csv"), "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])

    def picture(self, name: str, figure: Any) -> None:
        figure.savefig(self._file(f"{name}.png"), dpi=150)

    def point(self, nonzero: int, figures: Mapping[str, float]) -> None:
        return  # the table of the frontier has it; a step that is a count is none of its file

    def final(self, figures: Mapping[str, float]) -> None:
        self.table("final", ("figure", "value"), list(figures.items()))

    def _file(self, name: str) -> Path:
        file = Path(self._logger.log_dir) / name.replace("/", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


KINDS: tuple[tuple[type[Outlet], Sequence[str], Sequence[str]], ...] = (
    (WandbOutlet, ("log_table",), ("define_metric", "summary")),
    (TensorBoardOutlet, (), ("add_text", "add_figure")),
    (MLflowOutlet, ("run_id",), ("log_table", "log_figure")),
    (CometOutlet, (), ("log_table", "log_figure")),
    (FilesOutlet, ("log_dir",), ("metrics_file_path",)),
)
"""What a logger and its experiment must have to be told so."""


def outlets(loggers: Iterable[Logger]) -> Iterator[Outlet]:
    """An outlet for each logger that takes more than numbers."""
    for logger in loggers:
        if isinstance(logger, DummyLogger):
            continue  # which seems to take everything
        if isinstance(logger, WandbLogger):
            set_up(logger)
        experiment = getattr(logger, "experiment", None)
        for kind, of_logger, of_experiment in KINDS:
            own = all(hasattr(logger, name) for name in of_logger)
            if own and all(hasattr(experiment, name) for name in of_experiment):
                yield kind(logger)
                break


def set_up(logger: WandbLogger) -> None:
    """Let wandb read its environment before Lightning starts a run: only then can it be silent."""
    import wandb

    wandb.setup(wandb.Settings(mode="offline") if is_offline(logger) else None)


def _rounded(cell: Any) -> Any:
    return six_digits(cell) if isinstance(cell, float) and not cell.is_integer() else cell
