"""The command of a search: settings in, a compared folder out; what cannot be is said at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from l1prune.commands import search
from l1prune.runs.points import SUMMARY
from l1prune.runs.search import Space

pytest.importorskip("optuna", reason="needs the extra 'search'")

# Stands in for train.py: accuracy falls as sparsity rises.
TRAIN = """
import json, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
sparsity = float(given["sparsity"])
if sparsity > 0.95:
    raise SystemExit("too sparse")
figures = {"val/accuracy": 1 - sparsity**2, "test/accuracy": 0.5, "seed": 0, "seconds": 1.0}
counts = {"params/nonzero": round(1000 * (1 - sparsity)), "params/prunable": 1000}
counts |= {"params/total": 1100, "params/sparsity": sparsity}
(folder / "summary.json").write_text(json.dumps(figures | counts))
"""


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "train.py"
    file.write_text(TRAIN)
    monkeypatch.setattr(search, "TRAIN", file)
    return file


def test_a_search_is_run_told_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    arguments = ["sparsity=interval(0.5,0.9)", "--folder", str(folder), "--trials", "3"]
    assert search.main(arguments) == 0
    assert len(list(folder.glob(f"*/{SUMMARY}"))) == 3
    assert search.main(arguments) == 0  # all three are there: nothing is left to try
    assert len(list(folder.glob(f"*/{SUMMARY}"))) == 3
    told = capsys.readouterr().out
    assert "sparsity=" in told and str(folder) in told


def test_runs_are_given_the_folder_of_ones_own_configurations(tmp_path: Path) -> None:
    space = Space.of(["seed=1,2"], ["--config-dir", "conf"])
    assert space.fixed == ("--config-dir", "conf") and "--config-dir conf" in str(space)


@pytest.mark.parametrize(
    ("settings", "says"),
    [(["seed=1"], "nothing to look for"), (["a=interval(1,"], "interval")],
)
def test_what_is_no_search_is_told_in_a_line(
    settings: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search.main([*settings, "--folder", str(tmp_path / "s")]) == 2
    told = capsys.readouterr()
    assert (
        told.err.startswith(f"{Path(sys.argv[0]).name}: ") and says in told.err and told.out == ""
    )
    assert not (tmp_path / "s").exists()


def test_without_optuna_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search.main(["a=1,2", "--folder", str(tmp_path / "s")]) == 2
    assert "l1prune[search]" in capsys.readouterr().err
