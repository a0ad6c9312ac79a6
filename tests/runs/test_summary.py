"""The summary of a run: its figures in plain values, and one line of them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from l1prune.checks import DivergenceError
from l1prune.runs.monitor import Monitor
from l1prune.runs.summary import in_words, rounded, summary_of
from l1prune.weights.report import SparsityReport

FIGURES = {
    "val/accuracy": torch.tensor(0.98765432),
    "test/accuracy": torch.tensor(0.5),
    "train/loss": torch.tensor(0.1),
    "params/nonzero": torch.tensor(7.0),
    "valuable": torch.tensor(1.0),
}


def report() -> SparsityReport:
    layer = nn.Linear(4, 2)
    layer.weight.data.fill_(1.0)[0].zero_()
    return SparsityReport.of(layer)


def test_it_holds_what_was_validated_and_tested_and_the_counts_of_the_finished_model() -> None:
    summary = summary_of(FIGURES, report(), Monitor(), seed=3, seconds=12.3456)
    assert summary == {
        "test/accuracy": 0.5,
        "val/accuracy": 0.987654,
        **rounded(report().to_dict()),
        "monitor": "val/accuracy",
        "mode": "max",
        "seed": 3,
        "seconds": 12.35,
    }
    assert summary["params/nonzero"] == 4  # counted, and not what was logged last


def test_its_numbers_have_six_digits_that_count_and_its_counts_all() -> None:
    layer = nn.Linear(1_234, 1_000)
    layer.weight.data.fill_(1.0).view(-1)[: 1_234_000 - 7].zero_()
    small = {"val/mse": torch.tensor(0.000012345678)}
    summary = summary_of(small, SparsityReport.of(layer), Monitor("val/mse", "min"), 3, 123_456.789)
    assert summary["val/mse"] == 1.23457e-05 and summary["seconds"] == 123_456.79
    assert summary["params/total"] == 1_235_000 and summary["params/nonzero"] == 7
    assert summary["params/sparsity"] == 0.999994 and summary["params/compression"] == 176_286


def test_it_is_of_plain_values_that_json_gives_back() -> None:
    summary = summary_of(FIGURES, report(), Monitor(), seed=3, seconds=1.0)
    assert json.loads(json.dumps(summary)) == summary


def test_whatever_a_module_calls_its_figures_those_of_validation_and_test_are_told() -> None:
    figures = {"val_mse": torch.tensor(0.25), "test_mse": torch.tensor(0.5), "mse": torch.ones(())}
    summary = summary_of(figures, report(), Monitor("val_mse", "min"), seed=0, seconds=61.0)
    assert {"val_mse": 0.25, "test_mse": 0.5}.items() <= summary.items()
    assert "mse" not in summary
    assert in_words(summary) == "test mse 0.5000, validation mse 0.2500, 61 s of training"
    judged = summary_of(figures, report(), Monitor("mse", "min"), seed=0, seconds=61.0)
    assert judged["mse"] == 1.0


def test_without_a_test_there_are_no_figures_of_one() -> None:
    summary = summary_of(
        {"val_mse": torch.tensor(0.25)}, report(), Monitor("val_mse", "min"), seed=0, seconds=1.0
    )
    assert in_words(summary) == "validation mse 0.2500, 1 s of training"


@pytest.mark.parametrize("name", ["val/mse", "test/mse", "val/loss"])
def test_a_run_whose_own_figure_is_no_number_has_diverged(name: str) -> None:
    figures = {"val/mse": torch.ones(()), name: torch.tensor(float("nan"))}
    with pytest.raises(DivergenceError, match=name):
        summary_of(figures, report(), Monitor("val/mse", "min"), seed=0, seconds=1.0)


def test_another_figure_that_is_no_number_is_left_out() -> None:
    figures = {"val/mse": torch.ones(()), "val/auroc": torch.tensor(float("nan"))}
    summary = summary_of(figures, report(), Monitor("val/mse", "min"), seed=0, seconds=1.0)
    assert "val/auroc" not in summary and summary["val/mse"] == 1.0


def test_a_summary_that_does_not_say_it_is_judged_by_accuracy() -> None:
    assert in_words({"val/accuracy": 0.5, "seconds": 1.0}).startswith("validation accuracy 50.00 %")


def test_a_line_tells_the_accuracies_and_what_they_took() -> None:
    told = in_words(summary_of(FIGURES, report(), Monitor(), seed=3, seconds=12.3456))
    assert told == "test accuracy 50.00 %, validation accuracy 98.77 %, 12 s of training"
