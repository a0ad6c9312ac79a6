"""Plans: the next stage follows from what those before came to, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import nn

from l1prune import (
    LAMP,
    Budget,
    Magnitude,
    Plan,
    SemiStructured,
    Sparsity,
    SparsityPath,
    find_targets,
)
from l1prune.cuts.plans import Once, Outcome, as_plan, cuttable
from l1prune.cuts.thresholds import Threshold


def searched(budget: Budget, least: float) -> list[Outcome]:
    """The outcomes where networks with a smaller share of the weights than `least` are too bad."""
    outcomes: list[Outcome] = [{"sparsity": 0.0, "m": 1.0}]
    for _ in range(budget.rounds):
        threshold = budget.threshold(outcomes)
        assert isinstance(threshold, Sparsity)
        assert threshold.start == outcomes[budget.answer(outcomes)]["sparsity"]
        good = 1 - threshold.sparsity >= least
        outcomes.append({"sparsity": threshold.sparsity, "m": 1.0 if good else 0.0})
    return outcomes


@pytest.mark.parametrize("least", [0.9, 0.3, 0.1, 0.04, 0.011])
def test_a_budget_comes_close_to_the_smallest_network_it_allows(least: float) -> None:
    budget = Budget("m", 0.1, higher_is_better=True, rounds=8)
    outcomes = searched(budget, least)
    left = 1 - outcomes[budget.answer(outcomes)]["sparsity"]
    assert least <= left < 1.5 * least


def test_the_dense_network_is_within_any_budget() -> None:
    budget = Budget("m", 0.0, higher_is_better=True)
    outcomes = searched(budget, least=1.0)
    assert budget.answer(outcomes) == 0
    assert budget.threshold(()) is None


def test_nothing_goes_where_nothing_is_left_or_less_than_a_float_can_tell() -> None:
    budget = Budget("m", 0.0, higher_is_better=True)
    dense, good = {"sparsity": 0.0, "m": 1.0}, {"m": 1.0}
    assert budget.threshold([dense, {**good, "sparsity": 1.0}]) is None
    assert budget.threshold([dense, {**good, "sparsity": 1 - 2.0**-53}]) is None
    floors = [dense, *[{**good, "sparsity": 0.9}] * 2]  # asked for more, there was no more to go
    assert budget.threshold(floors[:2]) is not None
    assert budget.threshold(floors) is None


def test_the_direction_decides_what_is_worse() -> None:
    dense, other = {"sparsity": 0.0, "loss": 1.0}, {"sparsity": 0.5, "loss": 1.2}
    assert Budget("loss", 0.2001).respects(other, dense)
    assert not Budget("loss", 0.1).respects(other, dense)
    assert Budget("loss", 0.1, higher_is_better=True).respects(other, dense)
    assert not Budget("loss", 0.5).respects(other | {"loss": float("nan")}, dense)


def test_a_path_goes_on_from_where_it_was() -> None:
    path = SparsityPath((0.5, 0.8, 0.9))
    cuts = [path.threshold([{}] * done) for done in range(3)]
    assert [(cut.start, cut.sparsity) for cut in cuts] == [(0.0, 0.5), (0.5, 0.8), (0.8, 0.9)]
    assert [cut.share(0.0) for cut in cuts] == [0.0, 0.5, 0.8]


def test_at_three_times_the_cost_the_first_of_seven_stages_is_a_whole_training() -> None:
    assert len(SparsityPath().sparsities) == 7
    assert SparsityPath().ends[0] == 1 / 3


@pytest.mark.parametrize("stages", [SparsityPath(), SparsityPath([0.5]), Budget("acc", 0.1)])
def test_ends_rise_to_the_end_of_the_run(stages: SparsityPath | Budget) -> None:
    ends = stages.ends
    assert ends[-1] == pytest.approx(1.0)
    assert ends[-1] <= 1.0
    assert list(ends) == sorted({*ends})
    assert ends[0] > 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SparsityPath(()), "sparsities must rise"),
        (lambda: SparsityPath((0.9, 0.5)), "sparsities must rise"),
        (lambda: SparsityPath((0.5, 1.0)), "sparsities must rise"),
        (lambda: SparsityPath((0.5,), floor=-1), "floor must be"),
        (lambda: Budget("", 0.1), "monitor must name"),
        (lambda: Budget("acc", -0.1), "max_drop must be"),
        (lambda: Budget("acc", float("nan")), "max_drop must be"),
        (lambda: Budget("acc", 0.1, rounds=0), "rounds must be"),
        (lambda: Budget("acc", 0.1, scope="global"), "scope must be"),  # type: ignore[arg-type]
        (lambda: Sparsity(0.5, start=0.5), "start must lie"),
        (lambda: as_plan(Budget), "threshold must be"),
    ],
)
def test_nonsense_is_refused_at_once(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_a_threshold_is_the_one_stage_of_a_run() -> None:
    assert as_plan(Sparsity(0.9)) == Once(Sparsity(0.9))
    assert as_plan(SparsityPath()) == SparsityPath()


# ---- of the user's own


class Halving(Plan):
    """Two stages, each of which leaves half."""

    ends = (0.5, 1.0)

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        return Sparsity(1 - 0.5 ** (1 + len(outcomes)))

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        return len(outcomes) - 1


def test_a_plan_of_the_users_own_has_the_rest_from_the_protocol() -> None:
    plan = as_plan(Halving())
    assert plan.goes_back and plan.gradual and plan.scope is None
    assert plan.left_out([]) == {} and plan.shortfall([{}]) is None
    plan.check([1], [1])
    plan.check_metrics({})


def test_a_plan_that_lacks_a_part_is_refused_by_its_name() -> None:
    class Partial:
        ends = (1.0,)
        goes_back = gradual = True

        def answer(self, outcomes: Sequence[Outcome]) -> int:
            return 0

    lacks = "scope, threshold, check, check_metrics, left_out, shortfall: derive its class from"
    with pytest.raises(ValueError, match=f"has an answer, as a plan, but no {lacks} l1prune.Plan"):
        as_plan(Partial())


def test_a_number_is_the_size_below_which_the_one_stage_cuts() -> None:
    assert as_plan(0.1) == Once(Magnitude(0.1))
    assert not as_plan(0.1).gradual and as_plan(Sparsity(0.9)).gradual
    assert as_plan(Sparsity(0.9, scope=LAMP())).scope == LAMP()


def test_what_a_plan_cannot_cut_is_skipped_and_one_that_can_cut_nothing_is_refused() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2))
    found = find_targets(net)
    plan = as_plan(SemiStructured())
    assert [target.name for target in cuttable(found, plan)] == ["0.weight"]
    assert "6 inputs" in cuttable(found, plan).skipped["1.weight"]
    assert [*cuttable(found, as_plan(0.1))] == [*found]
    with pytest.raises(ValueError, match=r"none of the weights: weight: dense: 6 inputs"):
        cuttable(find_targets(nn.Linear(6, 2)), plan)
