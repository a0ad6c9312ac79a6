"""What is left: exact counts."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from l1prune import find_targets
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
    assert "1.4× fewer prunable weights, 1.3× fewer parameters in all" in table


def test_an_emptied_model_has_infinite_compression() -> None:
    net = model()
    for parameter in net.parameters():
        parameter.data.zero_()
    report = SparsityReport.of(net)
    assert report.compression == float("inf")
    assert "nothing left" in str(report)


class Language(nn.Module):
    """Most of it is an embedding, as in a small BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(1000, 4), nn.Embedding(10, 4)
        self.layer, self.norm = nn.Linear(4, 25), nn.LayerNorm(25)
        self.head = nn.Linear(25, 4)
        self.head.requires_grad_(False)


def cut(net: Language) -> Language:
    """Five weights of a hundred stay."""
    net.layer.weight.data.fill_(1.0).view(-1)[5:] = 0.0
    return net


def test_all_parameters_stand_beside_the_prunable_ones() -> None:
    report = SparsityReport.of(cut(Language()))
    assert (report.prunable, report.nonzero, report.compression) == (100, 5, 20.0)
    assert (report.total, report.left) == (4319, 4224)
    assert report.total_compression == pytest.approx(4319 / 4224)
    figures = report.to_dict()
    assert (figures["params/nonzero"], figures["params/left"]) == (5, 4224)
    assert figures["params/total_compression"] == report.total_compression
    assert sum(one.total for one in report.others) + report.prunable == report.total


def test_the_table_says_what_was_left_alone_and_why_the_most_first() -> None:
    lines = str(SparsityReport.of(cut(Language()))).splitlines()
    words = [line.split() for line in lines]
    at = words.index(["all", "prunable", "100", "5", "95.00", "%"])
    assert words[at + 1] == ["embedding", "2", "left", "alone", "4,040", "4,040", "0.00", "%"]
    assert words[at + 2] == ["frozen", "2", "left", "alone", "104", "104", "0.00", "%"]
    assert words[at + 3] == ["normalisation", "2", "left", "alone", "50", "50", "0.00", "%"]
    assert words[at + 4] == ["bias", "or", "scale", "1", "left", "alone", "25", "25", "0.00", "%"]
    assert words[at + 6] == ["all", "parameters", "4,319", "4,224", "2.20", "%"]
    assert lines[-2] == "20.0× fewer prunable weights, 1.0× fewer parameters in all"
    assert lines[-1].startswith("most of the model was left alone, 4,219 of 4,319 parameters, as")
    assert "words.weight (embedding)" in lines[-1]


def test_that_little_was_left_alone_is_not_said() -> None:
    assert "most of the model" not in str(SparsityReport.of(model()))


def test_the_parts_of_the_table_add_up_whatever_the_targets() -> None:
    net = Language()
    for targets in (None, find_targets(net, ["words.weight"]), [*find_targets(net)]):
        report = SparsityReport.of(net, targets)
        assert report.left == report.total == 4319
        assert report.prunable + sum(one.total for one in report.others) <= report.total


def test_a_dense_model_says_so() -> None:
    assert "none removed" in str(SparsityReport.of(nn.Linear(3, 3)))


def test_what_somebody_has_chosen_is_all_that_was_meant() -> None:
    net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 20))
    with torch.no_grad():
        net[0].weight[:, 1:] = 0
    lines = str(SparsityReport.of(net, find_targets(net, ["0"]))).splitlines()
    assert any(line.split()[:2] == ["all", "chosen"] for line in lines)
    assert lines[-1] == "4.0× fewer of the chosen weights, 1.1× fewer parameters in all"
