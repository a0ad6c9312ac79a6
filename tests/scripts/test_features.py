"""The benchmark of selectors: its tasks have the truth they claim, and its figures are resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from l1prune.features.path import Recipe

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from benchmark import main
from benchmarks.features import discoveries
from benchmarks.features.tasks import Found, by_truth, copied, madelon, xor5


def test_the_informative_columns_settle_the_class() -> None:
    data = xor5(0, Path())
    products = data.x[:, [one for (one,) in data.truth]].reshape(-1, 5, 2).prod(2)
    np.testing.assert_array_equal(data.y, products.sum(1) > 0)


def test_a_copy_counts_as_its_original_once() -> None:
    data = copied(0, Path())
    original, copy = data.truth[0]
    assert 0.85 < np.corrcoef(data.x[:, original], data.x[:, copy])[0, 1] < 0.95
    assert by_truth(data, Found([original, copy], 1.0), 0)["found"] == 1


def test_all_that_madelon_says_is_in_twenty_of_its_columns() -> None:
    data = madelon(0, Path())
    truth = [one for (one,) in data.truth]
    assert len(truth) == 20 and np.linalg.matrix_rank(data.x[:, truth], tol=1e-2) == 5
    assert np.abs(np.corrcoef(data.x.T)[truth].T).max(1)[[*{*range(500)} - {*truth}]].max() < 0.15


def test_a_wide_table_has_more_columns_than_the_others() -> None:
    x, y, true = discoveries.table_of("wide", 0)
    assert x.shape == (discoveries.ROWS, 300) and len(y) == discoveries.ROWS
    assert true.max() < 300


def test_what_is_in_the_file_is_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "rows.jsonl"
    asked = ["features", "--tasks", "xor5", "--selectors", "random", "f_classif", "--seeds", "3"]
    for _ in range(2):
        assert main([*asked, "--results", str(results)]) == 0
    written = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(row["selector"] for row in written) == ["f_classif", "random"]
    assert "| xor5 | random | 1 |" in capsys.readouterr().out


def test_shadows_correlate_among_themselves_and_not_with_their_columns() -> None:
    x, _, true = discoveries.table_of("correlated", 0)
    assert len({*true}) == discoveries.TRUE
    shadows = discoveries.shuffled(x, np.random.RandomState(0), np.arange(x.shape[1]))
    both = np.corrcoef(np.hstack([x[:, :2], shadows[:, :2]]).T)
    assert both[0, 1] == pytest.approx(both[2, 3]) and both[0, 1] > 0.5
    assert np.abs(both[:2, 2:]).max() < 0.15


def test_false_discoveries_are_counted_at_each_level_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discoveries, "KINDS", {"independent": (80, 0.0)})
    monkeypatch.setattr(discoveries, "Recipe", lambda: Recipe(epochs=2, least_steps=4))
    results = tmp_path / "rows.jsonl"
    asked = ["features", "--discoveries", "--results", str(results), "--seeds", "0", "1"]
    for _ in range(2):
        assert main(asked) == 0
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(row["selector"], row["seed"]) for row in rows] == [
        *(("knockoffs", 0), ("shadows", 0)),
        *(("knockoffs", 1), ("shadows", 1)),
    ]
    assert all(0 <= row["false_0.1"] <= 1 and 0 <= row["found_0.2"] <= 1 for row in rows)
    assert "| independent | shadows | 2 | 20 | " in capsys.readouterr().out
