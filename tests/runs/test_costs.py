"""Costs: the least of all forms that are as good as the original; what is impossible is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from l1prune.runs.costs import COSTS, costs_of, known_costs, read_costs


def form(nbytes: int, accuracy: float, speed: float) -> dict[str, Any]:
    latency = {str(n): {"seconds": 1e-3, "speed": speed} for n in (1, 16, 64)}
    return {
        "nbytes": nbytes,
        "macs": nbytes // 2,
        "latency": latency,
        "figures": {"test/accuracy": accuracy, "test/loss": 1 - accuracy},
    }


TREE: dict[str, Any] = {
    "version": 1,
    "metric": "test/accuracy",
    "variants": [form(1000, 0.9, 1), form(400, 0.9, 2), form(500, 0.91, 4), form(10, 0.89, 8)],
}


def test_what_is_worse_than_the_original_counts_for_nothing() -> None:
    latencies = {f"deploy/latency_{n}": 0.25 for n in (1, 16, 64)}
    assert costs_of(TREE) == {"deploy/bytes": 400, "deploy/macs": 200, **latencies}
    assert costs_of({**TREE, "metric": "test/loss"}) == costs_of(TREE)
    assert costs_of(TREE).keys() == COSTS.keys()


def test_a_latency_that_was_not_measured_is_not_there() -> None:
    tree = copy.deepcopy(TREE)
    for one in tree["variants"]:
        del one["latency"]["64"]
    assert costs_of(tree).keys() == COSTS.keys() - {"deploy/latency_64"}


@pytest.mark.parametrize("metric", ["test/accuracy", "test/loss"])
def test_what_was_not_tested_counts_for_nothing(metric: str) -> None:
    tree = copy.deepcopy(TREE)
    tree["metric"] = metric
    for one in tree["variants"][1:]:
        one["figures"] = {}
    assert costs_of(tree)["deploy/bytes"] == 1000


@pytest.mark.parametrize("value", [-1, "1", None, float("nan"), True, 1e30, [1]])
@pytest.mark.parametrize("name", ["nbytes", "macs"])
def test_an_impossible_figure_is_refused(name: str, value: Any) -> None:
    tree = copy.deepcopy(TREE)
    tree["variants"][1][name] = value
    with pytest.raises(ValueError, match="a figure must be a number from 0 up"):
        costs_of(tree)


@pytest.mark.parametrize(
    "tree", [[], {}, {"version": 1}, {**TREE, "variants": []}, {**TREE, "variants": [[]]}, None, 7]
)
def test_another_file_is_named(tree: Any, tmp_path: Path) -> None:
    file = tmp_path / "deploy.json"
    file.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=r"deploy\.json: not a table of deployed forms"):
        read_costs(file)


def test_of_other_figures_only_the_costs_are_known() -> None:
    assert known_costs({"deploy/macs": 5, "deploy/bytes": "5", "test/accuracy": 0.5}) == {
        "deploy/macs": 5
    }
