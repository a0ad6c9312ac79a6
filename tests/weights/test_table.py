"""Table: what belongs together stands below each other."""

from __future__ import annotations

import pytest

from l1prune.weights.table import aligned

ROWS = [("layer", "shape", "weights"), ("encoder.fc", "", "1,000"), ("a", "3×4", "12")]


def test_words_begin_and_figures_end_at_one_edge() -> None:
    lines = aligned(ROWS, left=2)
    assert [line.index(row[0]) for line, row in zip(lines, ROWS, strict=True)] == [0, 0, 0]
    assert lines[0].index("shape") == lines[2].index("3×4")
    assert len({len(line) for line in lines}) == 1


def test_no_line_ends_in_spaces() -> None:
    assert [line.rstrip() for line in aligned(ROWS, left=3)] == aligned(ROWS, left=3)


def test_no_cell_is_lost() -> None:
    assert [line.split() for line in aligned(ROWS, left=1)] == [
        [cell for cell in row if cell] for row in ROWS
    ]


def test_rows_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        aligned([("a", "b"), ("c",)], left=1)
