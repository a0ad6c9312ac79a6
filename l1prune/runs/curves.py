"""Curves: the tables that a run leaves, read again: its epochs, and its layers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from l1prune.runs.files import DOCUMENT, read_rows
from l1prune.weights.report import Layer, layers_of


def read_history(file: str | Path) -> dict[str, Sequence[float]]:
    """Read what `History` wrote: the figures of each epoch, column by column; NaN where unknown.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers.
    """
    columns: dict[str, array[float]] = {"epoch": array("d")}
    for epoch, row in enumerate(read_epochs(file)):
        for name in row.keys() - columns.keys():
            columns[name] = array("d", [math.nan]) * epoch
        for name, column in columns.items():
            column.append(row.get(name, math.nan))
    return dict(columns)


def read_epochs(file: str | Path) -> Iterator[dict[str, float]]:
    """Read what `History` wrote, epoch by epoch: what is known of each, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers.
    """
    rows = read_rows(file)
    names = next(rows, ["epoch"])
    if "epoch" not in names:  # against which the others are drawn
        raise ValueError(f"{file}: not a table of figures by epoch: no column is called 'epoch'")
    for row in rows:
        try:
            known = {name: float(text) for name, text in zip(names, row, strict=True) if text}
        except ValueError as error:
            raise ValueError(f"{file}: not a table of figures by epoch: {error}") from error
        yield known


def read_layers(file: str | Path) -> tuple[Layer, ...]:
    """Read what `SparsityReport.to_csv` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such table.
    """
    rows = list(read_rows(file, DOCUMENT))
    try:
        return layers_of(rows)
    except ValueError as error:
        raise ValueError(f"{file}: not a table of layers: {error}") from error
