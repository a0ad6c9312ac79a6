"""Counts of all parameters agree with the report's, and are unknown where a run does not say."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from l1prune.runs.counts import Count, mean, parameters_of
from l1prune.weights.report import SparsityReport


@pytest.mark.parametrize("said", [True, False], ids=["said", "worked out"])
def test_all_parameters_left_are_those_of_the_report(said: bool) -> None:
    model = nn.Sequential(nn.Embedding(50, 8), linear := nn.Linear(8, 4))
    linear.weight.data[0] = 0
    report = SparsityReport.of(model)
    assert report.left < report.total and report.nonzero < report.left
    summary = report.to_dict()
    if not said:
        del summary["params/left"]
    found = parameters_of(summary, report.nonzero)
    assert found == Count(report.left, report.total)
    assert found.times == f"{report.total_compression:.1f}×"


@pytest.mark.parametrize(
    "summary",
    [{}, {"params/total": 30}, {"params/total": "30", "params/prunable": 10},
     {"params/total": 3, "params/prunable": 10}, {"params/left": float("nan")}],
    ids=range(5),
)  # fmt: skip
def test_what_a_run_does_not_say_or_cannot_be_is_unknown(summary: dict[str, Any]) -> None:
    found = parameters_of(summary, 5)
    assert (found.left, found.times, str(found)) == (None, "", "—")


def test_a_mean_is_known_where_all_are() -> None:
    assert mean([Count(10, 40), Count(20, 40)]) == Count(15, 40)
    assert mean([Count(10, 40), Count(None, 40)]) == Count(None, 40)


def test_where_nothing_is_left_no_ratio_is_said() -> None:
    assert str(Count(0, 40)) == "0"
