"""Targets: what of a table is to be learned, a label or a number."""

from __future__ import annotations

from collections.abc import Sequence

from l1prune.zoo.columns import (
    FEW,
    Category,
    Number,
    Variable,
    category_of,
    is_dates,
    is_missing,
    most_kinds,
    number_of,
    variable_of,
)


def target_of(name: str, cells: Sequence[str], regression: bool | None = None) -> Category | Number:
    """What is to be learned: a label, or a number to be met.

    Args:
        name: of the column.
        cells: of it.
        regression: whether it is a number; None: as its cells look.

    Raises:
        ValueError: some are missing, there is one label, or nearly one for each row, a number is
            none, or they are dates.

    >>> type(target_of("y", ["yes", "no"])).__name__, type(target_of("y", ["1.5", "2"])).__name__
    ('Category', 'Number')
    """
    missing = [row for row, cell in enumerate(cells, 1) if is_missing(cell)]
    if missing:
        raise ValueError(
            f"data.target={name}: it is missing in {len(missing)} of {len(cells)} rows, first in "
            f"row {missing[0]}: fill it in, or take these rows out"
        )
    if len({*cells}) == 1:
        raise ValueError(
            f"data.target={name}: all rows say {cells[0]!r}: there is nothing to tell apart"
        )
    if regression is not False and is_dates(cells):
        raise ValueError(
            f"data.target={name}: it holds dates, as {cells[0]!r}: write them as numbers, as the "
            "days since the first; where they are labels, give data.regression=false"
        )
    advice = "data.regression=false, where it is a label"
    if regression or (regression is None and _is_measure(variable_of(name, cells, advice))):
        return _number_of(name, cells)
    return _labels_of(name, cells)


def _number_of(name: str, cells: Sequence[str]) -> Number:
    try:
        return number_of(name, cells)
    except ValueError as error:
        raise ValueError(
            f"data.target={name}: {error}, as data.regression=true asks for; for labels give "
            "data.regression=false"
        ) from error


def _labels_of(name: str, cells: Sequence[str]) -> Category:
    labels = category_of(name, cells)
    if len(labels.levels) > most_kinds(cells):
        raise ValueError(
            f"data.target={name}: it has {len(labels.levels):,} different labels in "
            f"{len(cells):,} rows, too few of each to be learned: give a target of fewer labels, "
            "or of numbers"
        )
    return labels


def _is_measure(variable: Variable) -> bool:
    if not isinstance(variable, Number):
        return False
    values = {*variable.values.tolist()}
    return len(values) > FEW or any(value != round(value) for value in values)
