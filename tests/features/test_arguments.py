"""Arguments: what would make no sense is refused by its name and value, and by `fit` alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from l1prune import L1, L2, MCP, GroupL1, LogSum
from l1prune.features.arguments import check_arguments
from l1prune.features.estimators import L1NetClassifier, L1NetRegressor
from l1prune.features.path import Recipe
from l1prune.features.refit import Refit
from l1prune.features.selector import L1FeatureSelector

WRONG: dict[str, list[Any]] = {
    "n_features_to_select": [0, -1, 1.5, 0.0, "all", True, [3], float("nan")],
    "network": ["mlp", 5, nn.Linear(2, 2)],
    "hidden_layer_sizes": [0, None, "100", (5.5,), (0,), {5: 5}],
    "layer": [None, 5, [], [5], b"first"],
    "penalty": ["l1", 0.05, L1, L2(), GroupL1(dim=1)],
    "groups": [5, "ab", ["ab"], [0, 1], [[]], [[-1]], [[0.5]], {"a": [0]}],
    "recipe": [{}, Recipe],
    "validation_fraction": [0, 1.0, "a", None],
    "verbose": ["no", None, -1],
    "random_state": ["x", -1, 1.5, 2**32, np.random.default_rng(0)],
}
SELECTOR = {
    "task": ["rank", None, ["auto"]],
    "stability": [-1, 1.5, "a", None],
    "screening": [{}, 4],
    "false_discovery_rate": [0, 1, "low", 0.0],
}
NET = {"refit": [{}, 5, Refit]}

RIGHT: dict[str, list[Any]] = {
    "n_features_to_select": ["auto", None, 3, np.int64(3), 0.1, 1.0],
    "network": [nn.Linear, None],
    "hidden_layer_sizes": [5, (), [30, 20], np.array([3])],
    "layer": ["first", ("first", "skip")],
    "penalty": [None, L1(), LogSum(0.1), MCP()],
    "groups": [None, [], [[0, 1]], (("a", "b"),), np.array([[0, 1], [2, 3]])],
    "validation_fraction": [0.5],
    "verbose": [True, 0, 1],
    "random_state": [None, 0, np.random, np.random.RandomState(0)],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    every = [(name, value) for name, values in table.items() for value in values]
    # Without addresses, which differ from process to process.
    return [pytest.param(n, v, id=f"{n}={v!r}".split(" at 0x")[0][:60]) for n, v in every]


@pytest.mark.parametrize(("name", "value"), cases(WRONG | SELECTOR))
def test_a_selector_refuses_what_makes_no_sense(name: str, value: Any) -> None:
    estimator = clone(L1FeatureSelector(**{name: value}))  # which refuses nothing
    with pytest.raises(ValueError, match=rf"^{name}={re.escape(repr(value)[:8])}.*: give \S"):
        estimator.fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("kind", [L1NetClassifier, L1NetRegressor])
@pytest.mark.parametrize(("name", "value"), cases(NET | {"penalty": ["l1"], "groups": [[0]]}))
def test_a_net_refuses_the_same_and_its_own(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}=.*: give "):
        kind(**{name: value}).fit(np.eye(4), [0, 1, 0, 1])


def test_two_ways_to_say_how_many_are_one_too_many() -> None:
    check_arguments(L1FeatureSelector(false_discovery_rate=0.1))
    with pytest.raises(ValueError, match=r"^false_discovery_rate=0\.1 and n_features_to_select=3"):
        check_arguments(L1FeatureSelector(3, false_discovery_rate=0.1))


@pytest.mark.parametrize(("name", "value"), cases(RIGHT))
def test_what_makes_sense_is_taken(name: str, value: Any) -> None:
    check_arguments(L1FeatureSelector(**{name: value}))
