"""Exactly k inputs of one layer are left, whichever layer and network it is."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from tasks import Task, examples, fit, layers

from l1prune import L1, MCP, Count, FeaturePenalty, GroupLogSum, LogSum, Sparsity
from l1prune.features.pruning import SHARE, StepLength, keep_features, selects_inputs
from l1prune.pressure.forms import Proximal


@pytest.mark.parametrize(("k", "left"), [(3, 3), (0.25, 2)])
def test_so_many_columns_are_left_and_the_other_layers_are_whole(k: float, left: int) -> None:
    task = Task()
    fit(task, keep_features(k))
    first, second = task.net[0].weight, task.net[2].weight
    assert int((first != 0).any(0).sum()) == left
    assert second.count_nonzero() == second.numel()


def test_another_layer_is_chosen_by_its_name() -> None:
    task = Task(layers(8, 6, 5, 2), data=examples(30))
    fit(task, keep_features(2, layer="net.2"))
    assert int((task.net[2].weight != 0).any(0).sum()) == 2
    assert task.net[0].weight.count_nonzero() == task.net[0].weight.numel()


def test_inputs_of_one_variable_count_as_one_and_stay_or_go_together() -> None:
    task, variables = Task(), {"a": [0], "b": [1, 2, 3], "c": [4], "d": [5, 6, 7]}
    pruning = keep_features(2, groups=variables)
    fit(task, pruning)
    left = (task.net[0].weight != 0).any(0)
    whole = [bool(left[some].all()) for some in variables.values()]
    assert whole == [bool(left[some].any()) for some in variables.values()]
    assert sum(whole) == 2 and selects_inputs(pruning)


def test_groups_of_one_input_each_are_no_groups() -> None:
    alone = keep_features(3, groups={"a": [0], "b": [1]}).recipe.words
    assert alone == keep_features(3).recipe.words


@pytest.mark.parametrize(
    ("penalty", "single"),
    [(None, L1()), (GroupLogSum(dim=1, eps=0.1), LogSum(0.1)), (MCP(3.0), MCP(3.0))],
)
def test_a_penalty_that_is_given_presses_groups_and_the_layer_alone(
    penalty: Any, single: Any
) -> None:
    task, pruning = Task(), keep_features(2, groups=[[1, 2, 3]], penalty=penalty)
    assert pruning.recipe.penalty == FeaturePenalty(single, "first", [[1, 2, 3]])
    fit(task, pruning)
    assert task.net[2].weight.count_nonzero() == task.net[2].weight.numel()


def test_a_penalty_of_features_has_groups_of_its_own() -> None:
    own = FeaturePenalty(groups=[[0, 1]])
    assert keep_features(2, groups=[[1, 2, 3]], penalty=own).recipe.penalty is own


@pytest.mark.parametrize("groups", [[[0, 1], [1, 2]], [["a", "b"]], [0, 1], "ab"])
def test_what_is_no_groups_is_refused_at_once(groups: Any) -> None:
    with pytest.raises(ValueError, match=r"groups.* give lists of different inputs"):
        keep_features(3, groups=groups)


def test_groups_of_inputs_that_are_not_there_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="groups: 8 is none of the 8 inputs"):
        fit(Task(), keep_features(3, groups=[[7, 8]]))


def test_what_is_given_is_in_the_place_of_the_usual() -> None:
    recipe = keep_features(3, threshold=Sparsity(0.5), penalty=None, strength=0.1).recipe
    assert recipe.threshold == Sparsity(0.5)
    assert recipe.strength == 0.1
    assert keep_features(0.5).recipe.threshold == Count(0.5)


def test_pressure_is_a_share_of_a_step_where_nothing_else_is_asked_for() -> None:
    usual, asked = keep_features(3).recipe, keep_features(3, strength=1e-2).recipe
    assert (usual.strength, usual.form) == (SHARE, Proximal(StepLength()))
    assert (asked.strength, asked.form) == (1e-2, None)


def test_an_optimizer_without_steps_of_a_length_is_refused_before_training() -> None:
    sgd = partial(torch.optim.SGD, lr=0.1)
    with pytest.raises(ValueError, match=r"SGD has steps of no known length.*strength=1e-4"):
        fit(Task(optimizer=sgd), keep_features(3))
    fit(Task(optimizer=sgd), keep_features(3, strength=1e-4))


def test_more_features_than_there_are_is_refused_before_training() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="there are 8 units"):
        fit(Task(), keep_features(8))
