"""Outcomes: a line for each stage, and which of them is handed back."""

from __future__ import annotations

import pytest

from l1prune import Budget, SparsityPath
from l1prune.cuts.outcomes import Outcome, table
from l1prune.cuts.plans import told

WALKED: list[Outcome] = [
    {"sparsity": 0.5, "val/loss": 0.3125, "train/loss": 0.1, "params/nonzero": 50.0},
    {"sparsity": 0.9, "val/loss": 0.5, "train/loss": 0.2, "params/nonzero": 10.0},
]


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_path_has_a_line_for_each_stage_with_the_figures_of_validation() -> None:
    lines = words(told(SparsityPath((0.5, 0.9)), WALKED))
    assert lines[0] == ["stage", "zeros", "val/loss"]
    assert lines[1:] == [["1", "50.0", "%", "0.3125"], ["2", "90.0", "%", "0.5"]]


def test_what_no_validation_calls_its_own_is_shown_where_there_is_nothing_else() -> None:
    outcomes: list[Outcome] = [{"sparsity": 0.5, "accuracy": 0.9, "prune/strength": 0.1}]
    assert words(table(outcomes))[0] == ["stage", "zeros", "accuracy"]


def test_a_figure_that_a_stage_has_not_is_left_open() -> None:
    lines = table([WALKED[0], {"sparsity": 0.9}]).splitlines()
    assert lines[2].split() == ["2", "90.0", "%"]


def test_of_dozens_of_figures_a_few_are_shown() -> None:
    outcome = {"sparsity": 0.5} | {f"val/{index}": 1.0 for index in range(30)}
    assert len(words(table([outcome]))[0]) == 6


@pytest.mark.parametrize(("name", "worst"), [("acc", 0.85), ("loss", 0.95)])
def test_a_budget_says_the_dense_figure_the_limit_and_which_rounds_passed(
    name: str, worst: float
) -> None:
    sign = 1 if name == "acc" else -1
    figures = [0.9, 0.9 - 0.04 * sign, 0.9 - 0.2 * sign]
    sparsities = (0.0, 0.75, 0.94)
    outcomes = [{"sparsity": s, name: f} for s, f in zip(sparsities, figures)]
    lines = words(told(Budget(name, 0.05), outcomes))
    assert lines[0] == ["zeros", name]
    assert lines[1] == ["dense", "0.0", "%", "0.9"]
    assert lines[2] == ["round", "1", "75.0", "%", f"{figures[1]:.4g}", "passed", "←", "kept"]
    assert lines[3] == ["round", "2", "94.0", "%", f"{figures[2]:.4g}", "failed"]
    assert lines[4] == [name, "may", "be", f"{worst:.4g}", "at", "worst"]


def test_where_no_round_passed_the_dense_network_is_kept() -> None:
    outcomes = [{"sparsity": 0.0, "acc": 0.9}, {"sparsity": 0.75, "acc": 0.1}]
    assert words(told(Budget("acc", 0.05), outcomes))[1][-2:] == ["←", "kept"]
