"""Fitting: which task a target is, and what a network of one's own has to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import nn

from l1prune.features.fitting import (
    built,
    forget,
    numbered,
    seeded,
    split,
    task_of,
)
from l1prune.features.tasks import Classes, Labels, MultiClasses, Regression


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["a", "b", "a"], Classes),
        ([0, 1, 2], Classes),
        ([0.5, 1.5, 2.0], Regression),
        (range(100), Regression),
        ([[0.5, 1], [1, 2], [0, 3]], Regression),
        ([[0, 1], [1, 0], [1, 1]], Labels),
        ([["a", "x"], ["b", "y"], ["a", "z"]], MultiClasses),
    ],
)
def test_the_type_of_the_target_tells_the_task(y: object, kind: type) -> None:
    assert type(task_of("auto", np.array(y))) is kind


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="one class, 1: there"):
        task_of("auto", np.array([1, 1, 1]))
    with pytest.raises(ValueError, match=r"one value, 1\.5: there"):
        task_of("auto", np.array([1.5, 1.5]))
    with pytest.raises(ValueError, match=r"one class, \['a', 'b'\]: there"):
        task_of("auto", np.array([["a", "b"]] * 3))
    with pytest.raises(ValueError, match="groups"):
        numbered([["nowhere"]], ["here"])


@pytest.mark.parametrize("y", [["a", None, "b"], [["a", "x"], ["b", None], ["a", "x"]]])
def test_a_target_that_is_missing_is_refused_with_its_row(y: object) -> None:
    with pytest.raises(ValueError, match="y is None in 1 of 3 rows, first in row 1: fill it in"):
        task_of("auto", np.array(y, dtype=object))


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="there is no column 'town'; there are a, b"):
        numbered([["a", "town"]], ["a", "b"])


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([["a", "a"]], "'a'"),
        ([["a", "b"], ["c", "b"]], "'b'"),
        ([["a", "b"], [1]], "'b'"),
        ([[0, 1], ["b"]], "'b'"),
        ([[0, 1], [1]], "1"),
    ],
)
def test_a_column_that_is_in_two_groups_is_called_as_it_was_given(groups: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^groups: {said} is there twice; give lists of diff"):
        numbered(groups, ["a", "b", "c"])


class Pair(nn.Linear):
    """A network that gives more than its output."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), x


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda n_in: nn.Linear(n_in, 3), r"network\(4, 3\), of so many columns and outputs: Type"),
        (
            Pair,
            r"network\(4, 3\): of 2 rows its output is a tuple, and has to be of shape \(2, 3\)",
        ),
        (lambda n_in, n_out: nn.Linear(7, n_out), "of 2 rows of 4 columns, RuntimeError: mat1"),
    ],
)
def test_a_network_that_fails_is_named_with_what_it_was_asked(network: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        built(network, (), 4, Classes(np.array([0, 1, 2])))


def test_a_network_of_ones_own_has_to_fit() -> None:
    task = Classes(np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="gave None"):
        built(lambda n_in, n_out: None, (), 4, task)
    with pytest.raises(ValueError, match=r"shape \(2, 7\)"):
        built(lambda n_in, n_out: nn.Linear(n_in, 7), (), 4, task)


def test_validation_rows_are_not_trained_on() -> None:
    x = np.arange(20.0).reshape(20, 1)
    train, check = split(x, torch.arange(20), 0.25, np.random.RandomState(0))
    ys = [torch.cat([y for _, y in rows.parts()]).tolist() for rows in (train, check)]
    assert len(ys[1]) == 5 and sorted(ys[0] + ys[1]) == [*range(20)]


def test_torchs_own_random_state_stays() -> None:
    before = torch.get_rng_state()
    with seeded(np.random.RandomState(0)):
        first = torch.rand(3)
    with seeded(np.random.RandomState(0)):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_an_earlier_fit_has_learned_is_forgotten() -> None:
    estimator = BaseEstimator()
    estimator.support_, estimator.given = np.ones(2), 1
    forget(estimator)
    assert vars(estimator) == {"given": 1}


def test_where_no_column_varies_there_is_nothing_to_select() -> None:
    with pytest.raises(ValueError, match="none of its 2 columns varies"):
        split(np.ones((5, 2)), torch.zeros(5), 0.0, np.random.RandomState(0))
