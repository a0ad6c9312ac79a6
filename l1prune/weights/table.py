"""Table: rows of cells as lines that a person can read."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A line for each row, with its cells below those of the row above.

    Args:
        rows: of equally many cells.
        left: how many columns begin at their left edge, as words do; the others end at their right
            one, as figures do.

    >>> aligned([("layer", "weights"), ("a", "12")], left=1)
    ['layer  weights', 'a           12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
