"""The tables that a run leaves: read as they were written, and refused if they are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1prune.runs.curves import read_history, read_layers


def test_a_history_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("epoch,loss\n0,low\n")
    with pytest.raises(ValueError, match="low"):
        read_history(file)


def test_layers_that_could_not_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_text("name,shape,total,nonzero,sparsity\na,2x2,4,5,0\n")
    with pytest.raises(ValueError, match="not a table of layers"):
        read_layers(file)
