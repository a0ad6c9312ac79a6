"""A network for a table is as wide as the table, and learns what its target asks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tasks import trainer

from l1prune.zoo import BreastCancer, Classifier, CsvTable, Digits, Regressor, tabular_mlp

ADAM = partial(torch.optim.Adam, lr=5e-3)


def test_labels_make_a_classifier_that_learns_them() -> None:
    torch.manual_seed(0)
    data = BreastCancer()
    model, run = tabular_mlp(data, ADAM, hidden=(16,)), trainer(epochs=8)
    run.fit(model, data)
    assert isinstance(model, Classifier)
    assert run.callback_metrics["val/accuracy"] > 0.9


def test_numbers_make_a_regressor_that_learns_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = torch.randn(300, 2, dtype=torch.float64)
    path = tmp_path / "table.csv"
    lines = [f"{a:.4f},{b:.4f},{100 * (a + 2 * b):.4f}" for a, b in rows.tolist()]
    path.write_text("\n".join(["a,b,y", *lines]), encoding="utf-8")
    data = CsvTable(str(path), "y")
    model, run = tabular_mlp(data, ADAM, hidden=(16,)), trainer(epochs=20)
    run.fit(model, data)
    assert isinstance(model, Regressor)
    assert run.callback_metrics["val/mse"] < 0.1  # of the target's variance
    assert run.test(model, data, verbose=False)[0]["test/mse"] < 0.1


def test_data_that_are_no_table_are_refused() -> None:
    with pytest.raises(ValueError, match="model=tabular_mlp learns tables, and Digits"):
        tabular_mlp(Digits(), ADAM)
