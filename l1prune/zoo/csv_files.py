"""Files of CSV: their cells as they are written, and numbers as Python writes them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from l1prune.zoo.columns import MOSTLY, Texts, as_number, is_missing

DELIMITERS = ",;\t|"

ENGLISH = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
"""1,234 and 1,234.56."""

GERMAN = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d*),\d+")
"""1,5 and 1.234,56."""

GERMAN_OR_WHOLE = re.compile(rf"{GERMAN.pattern}|[-+]?\d{{1,3}}(\.\d{{3}})+")
"""Beside such numbers, 1.234 is a whole one."""

COMMA_IS_POINT = re.compile(r"[-+]?(\d*,(\d{1,2}|\d{4,})|\d{1,3}(\.\d{3})+,\d+)")
"""What is German, and nothing else."""

COMMA_IN_GROUPS = re.compile(r"[-+]?(\d{1,3}(,\d{3})+\.\d+|\d{1,3}(,\d{3}){2,})")
"""What is English, and nothing else."""


def read_csv(path: Path) -> Texts:
    """The cells of a file, by column; what is between them is found from its first line.

    Args:
        path: of a text in UTF-8 whose first line names the columns: commas, semicolons, tabs or
            bars between cells.

    Raises:
        ValueError: there is no such file, or it is no table; it says what and where.
    """
    if not path.is_file():
        raise ValueError(f"data.path={path}: no such file; give a table, as a file of CSV")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"data.path={path}: cannot be read as text in UTF-8: {error}; save it as such"
        ) from error
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"data.path={path}, line {lines.line_num}: {error}") from error
    if len(rows) < 2:
        raise ValueError(f"data.path={path}: {'no rows below the names' if rows else 'is empty'}")
    names = _names(path, rows[0][1])
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise ValueError(
                f"data.path={path}, line {line}: {len(row)} cells, where the first line names "
                f"{len(names)} columns"
            )
    columns = zip(*(row for _, row in rows[1:]), strict=True)
    return {
        name: plain([cell.strip() for cell in cells], lines.dialect.delimiter == ",")
        for name, cells in zip(names, columns, strict=True)
    }


def _delimiter(text: str) -> str:
    """What makes the most cells of the first line that is not empty."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))


def plain(cells: Sequence[str], between_commas: bool) -> list[str]:
    """A column with its numbers as Python writes them; one that is not of numbers as it is.

    Thousands may be grouped by commas or by points, and a comma be the point of a number. What
    could be both, as 1,234, has a group of thousands where cells are separated by commas.

    Args:
        cells: of the column.
        between_commas: whether commas separate cells.

    >>> plain(["6.862,87", "682,1", "-"], False), plain(["1,234.5", "12"], True)
    (['6862.87', '682.1', '-'], ['1234.5', '12'])
    """
    if not any("," in cell for cell in cells):
        return [*cells]
    as_point = any(map(COMMA_IS_POINT.fullmatch, cells))
    in_groups = any(map(COMMA_IN_GROUPS.fullmatch, cells))
    if as_point and in_groups:
        return [*cells]
    if in_groups or (between_commas and not as_point):
        found = [cell.replace(",", "") if ENGLISH.fullmatch(cell) else cell for cell in cells]
    elif not any(map(GERMAN.fullmatch, cells)):
        found = [*cells]
    else:
        found = [
            cell.replace(".", "").replace(",", ".") if GERMAN_OR_WHOLE.fullmatch(cell) else cell
            for cell in cells
        ]
    known = [cell for cell in found if not is_missing(cell)]
    numbers = sum(as_number(cell) is not None for cell in known)
    return found if numbers >= MOSTLY * len(known) else [*cells]


def _names(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    if all(as_number(name) is not None for name in names):
        raise ValueError(
            f"data.path={path}: its first line must name the columns, and has numbers alone: "
            f"{', '.join(names[:4])}"
        )
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"data.path={path}: two columns are called {min(twice)!r}")
    return names
