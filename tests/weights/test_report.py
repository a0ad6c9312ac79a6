"""What is left: exact counts."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from l1prune.weights.report import Layer, SparsityReport, layers_of


def model() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].weight[0] = 0.0
        net[1].weight.fill_(-1e-30)
        net[1].weight[0, 0] = -0.0
    return net


def test_counts_are_exact() -> None:
    report = SparsityReport.of(model())
    assert [(layer.total, layer.nonzero) for layer in report.layers] == [(12, 8), (6, 5)]
    assert (report.total, report.prunable, report.nonzero) == (23, 18, 13)
    assert report.sparsity == pytest.approx(1 - 13 / 18)
    assert report.compression == pytest.approx(18 / 13)
    assert report.skipped == {"0.bias": "bias or scale", "1.bias": "bias or scale"}


def test_tied_weights_count_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    report = SparsityReport.of(net)
    assert (report.total, report.prunable) == (9, 9)


def test_the_file_says_what_the_report_says(tmp_path: Path) -> None:
    report = SparsityReport.of(model())
    report.to_csv(tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["0.weight", "1.weight"]
    assert rows[0] == {
        "name": "0.weight",
        "shape": "3x4",
        "total": "12",
        "nonzero": "8",
        "sparsity": "0.333333",
    }


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    layers = (*SparsityReport.of(model()).layers, Layer('odd, "λ"', (), 1, 0))
    SparsityReport(layers, 20).to_csv(tmp_path / "report.csv")
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        assert layers_of(csv.reader(file)) == layers


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([["name", "shape"], ["a", "2x"]], "no column is called 'total'"),
        ([[*"nst"], ["a", "2"]], "shorter"),
        ([["name", "shape", "total", "nonzero"], ["a", "2", "2", "3"]], "no layer has a,2,2,3"),
        ([["name", "shape", "total", "nonzero"], ["a", "2", "-2", "-3"]], "no layer has"),
        ([["name", "shape", "total", "nonzero"], ["a", "-2", "2", "2"]], "no layer has"),
        ([["name", "shape", "total", "nonzero"], ["a", "2", "9" * 99, "2"]], "no layer has"),
        ([["name", "shape", "total", "nonzero"], ["a", "2", "two", "2"]], "two"),
    ],
)
def test_what_is_no_table_of_layers_is_refused(rows: list[list[str]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        layers_of(rows)


def test_the_table_names_every_layer_and_the_whole() -> None:
    table = str(SparsityReport.of(model()))
    assert "0.weight" in table and "1.weight" in table
    assert "all prunable" in table and "27.78 %" in table
    assert "1.4× fewer" in table


def test_an_emptied_model_has_infinite_compression() -> None:
    net = model()
    for parameter in net.parameters():
        parameter.data.zero_()
    report = SparsityReport.of(net)
    assert report.compression == float("inf")
    assert "nothing left" in str(report)


def test_a_dense_model_says_so() -> None:
    assert "none removed" in str(SparsityReport.of(nn.Linear(3, 3)))
