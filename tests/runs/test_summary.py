"""The summary of a run: its figures in plain values, and one line of them."""

from __future__ import annotations

import json

import torch
from torch import nn

from l1prune.runs.summary import in_words, summary_of
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
    summary = summary_of(FIGURES, report(), seed=3, seconds=12.3456)
    assert summary == {
        "test/accuracy": 0.5,
        "val/accuracy": 0.987654,
        **report().to_dict(),
        "seed": 3,
        "seconds": 12.35,
    }
    assert summary["params/nonzero"] == 4  # counted, and not what was logged last


def test_it_is_of_plain_values_that_json_gives_back() -> None:
    summary = summary_of(FIGURES, report(), seed=3, seconds=1.0)
    assert json.loads(json.dumps(summary)) == summary


def test_a_line_tells_the_accuracies_and_what_they_took() -> None:
    told = in_words(summary_of(FIGURES, report(), seed=3, seconds=12.3456))
    assert told == "test accuracy 50.00 %, validation 98.77 %, 12 s of training"
