"""A model card counts what is left, names what was left alone, and says how to load it."""

from __future__ import annotations

import re

import pytest
import yaml
from torch import nn

from l1prune.runs.card import Card
from l1prune.weights.report import SparsityReport


def a_card(**given: object) -> Card:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].weight.data[:3] = 0
    arguments = {"file": "model.safetensors", "report": SparsityReport.of(model), **given}
    return Card("me/small-net", "Sequential", **arguments)  # type: ignore[arg-type]


def test_prunable_weights_and_all_parameters_stand_side_by_side() -> None:
    text = str(a_card())
    assert "of 24 prunable weights 12 are left (50.00 % zeros), of all 38 parameters 26." in text
    assert "| 0.weight | 4×4 | 16 | 4 | 75.00 % |" in text


def test_what_was_left_alone_is_named_with_the_reason() -> None:
    (line,) = re.findall(r"^- .*1\.weight.*$", str(a_card()), re.MULTILINE)
    assert "1.bias" in line


def test_figures_are_in_the_unit_of_the_metric_and_the_judged_one_comes_first() -> None:
    summary = {"val/mse": 0.02, "test/mse": 0.0312345, "monitor": "val/mse", "mode": "min"}
    figures = re.findall(r"^\| (\S+/mse) \| (.+) \|$", str(a_card(summary=summary)), re.MULTILINE)
    assert figures == [("test/mse", "0.03123"), ("val/mse", "0.02000")]
    assert a_card(summary=summary).metadata({})["metrics"] == ["mse"]
    accuracy = a_card(summary={"test/accuracy": 0.975, "seconds": 3.2, "seed": 0})
    assert "| test/accuracy | 97.50 % |" in str(accuracy)
    assert "seconds" not in str(accuracy)


def test_the_metadata_are_yaml_whatever_is_in_them() -> None:
    text = a_card().text({"license": "mit", "tags": ["a: b", "pruning"], "language": ["no"]})
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "mit" and front["language"] == ["no"]
    assert front["tags"] == ["pruning", "sparsity", "l1prune", "a: b"]
    assert front["library_name"] == "pytorch" and "metrics" not in front


def test_names_are_no_markup() -> None:
    model = nn.ModuleDict({"a|b<img>": nn.Linear(2, 2)})
    text = str(a_card(report=SparsityReport.of(model), summary={"test/<b>": 1.0}))
    assert "<img>" not in text and "<b>" not in text and r"a\|b" in text


@pytest.mark.parametrize("sparse", [False, True])
def test_the_code_needs_no_l1prune(sparse: bool) -> None:
    code = a_card(is_sparse=sparse).code
    compile(code, "card", "exec")
    assert "l1prune" not in re.sub("#.*", "", code)
    assert ("read_sparse" in code) == sparse


def test_a_picture_is_shown_where_there_is_one() -> None:
    assert "](frontier.png)" in str(a_card(pictures=("frontier.png",)))
    assert "![" not in str(a_card())
