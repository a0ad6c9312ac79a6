"""Results: rows by the part of a benchmark that measured them, kept in a file, and added to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks.measure import AtLeast, Row

KINDS: Mapping[str, type[Row]] = {kind.sign: kind for kind in (Row, AtLeast)}

HEAD = ("| work | goal | measured | quartiles | |", "|---|---:|---:|---:|---|")


class Results:
    """What a benchmark has found so far.

    Args:
        circumstances: what its figures depend on.
        rows: by part.
    """

    def __init__(
        self, circumstances: Mapping[str, Any], rows: Mapping[str, list[Row]] | None = None
    ) -> None:
        self.circumstances = dict(circumstances)
        self.rows = dict(rows or {})

    @classmethod
    def taken_up(cls, file: Path, circumstances: Mapping[str, Any]) -> Results:
        """Those of a file, to be added to; none if it is not there.

        Raises:
            ValueError: it is no such file, or its figures were measured elsewhere.
        """
        if not file.exists():
            return cls(circumstances)
        try:
            known, rows = _read(file)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} holds no results to add to: {error!r}") from error
        other = [name for name in circumstances if known.get(name) != circumstances[name]]
        if other:
            name = other[0]
            raise ValueError(
                f"{file} was measured with {name}={known.get(name)!r}, this is "
                f"{circumstances[name]!r}: figures of both in one table compare nothing; give "
                "another --output"
            )
        return cls(circumstances, rows)

    @staticmethod
    def of_file(file: Path) -> dict[str, list[Row]]:
        """The rows of a file by part, wherever they were measured."""
        return _read(file)[1]

    def of(self, parts: Iterable[str]) -> list[Row]:
        """All rows, in the order of these parts."""
        return [row for part in parts for row in self.rows.get(part, ())]

    def write(self, file: Path, parts: Iterable[str]) -> None:
        """Leave them in a file, in the order of these parts."""
        rows = [{"part": part, **as_dict(row)} for part in parts for row in self.rows.get(part, ())]
        result = {**self.circumstances, "rows": rows}
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _read(file: Path) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    known = json.loads(file.read_text("utf-8"))
    found: dict[str, list[Row]] = {}
    for row in known.pop("rows"):
        found.setdefault(row["part"], []).append(_row(row))
    return known, found


def as_dict(row: Row) -> dict[str, Any]:
    """A row with all that it says."""
    return {**asdict(row), "sign": row.sign, "verdict": row.verdict}


def _row(known: Mapping[str, Any]) -> Row:
    values = {field.name: known[field.name] for field in fields(Row)}
    if values["spread"] is not None:
        values["spread"] = tuple(values["spread"])
    return KINDS[known["sign"]](**values)


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    lines = [*HEAD]
    for row in rows:
        goal = "" if row.goal is None else f"{row.sign} {row.goal:g} {row.unit}"
        spread = "" if row.spread is None else f"{row.spread[0]:.3f}-{row.spread[1]:.3f}"
        lines.append(f"| {row.work} | {goal} | {figure(row)} | {spread} | {remark(row)} |")
    return "\n".join(lines).replace("Σ|w|", r"Σ\|w\|")


def remark(row: Row) -> str:
    return ": ".join(said for said in (row.verdict, row.note) if said)


def figure(row: Row) -> str:
    if row.measured is None:
        return "–"
    tiny = 0 < row.measured < 1e-3
    return f"{row.measured:.1e} {row.unit}" if tiny else f"{row.measured:.3f} {row.unit}"


def in_page(page: str, rows: Iterable[Row]) -> str:
    """A page of Markdown with these rows in the place of the table that it has.

    Raises:
        ValueError: it has none, or several.
    """
    parts = re.split(rf"^{re.escape(HEAD[0])}\n(?:\|.*\n?)*", page, flags=re.MULTILINE)
    if len(parts) != 2:
        raise ValueError(f"the page has {len(parts) - 1} tables that begin with {HEAD[0]!r}, not 1")
    return f"{parts[0]}{table(rows)}\n{parts[1]}"
