"""The benchmark of selectors: its tasks have the truth they claim, and its figures are resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from benchmark import main
from benchmarks.features.tasks import Found, by_truth, copied, xor5


def test_the_informative_columns_settle_the_class() -> None:
    data = xor5(0, Path())
    products = data.x[:, [one for (one,) in data.truth]].reshape(-1, 5, 2).prod(2)
    np.testing.assert_array_equal(data.y, products.sum(1) > 0)


def test_a_copy_counts_as_its_original_once() -> None:
    data = copied(0, Path())
    original, copy = data.truth[0]
    assert 0.85 < np.corrcoef(data.x[:, original], data.x[:, copy])[0, 1] < 0.95
    assert by_truth(data, Found([original, copy], 1.0), 0)["found"] == 1


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
