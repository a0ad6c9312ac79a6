"""Fitting: which task a target is, and what a network of one's own has to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import nn

from l1prune.features.fitting import (
    built,
    check_targets,
    forget,
    numbered,
    seeded,
    split,
    table_of,
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


X = np.arange(6.0).reshape(3, 2)
FRAME = pd.DataFrame(X, columns=["a", "b"])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (FRAME.assign(town=["x", "y", "x"]), "X: column 'town' holds 'x', which is no number"),
        (FRAME.assign(town=pd.Categorical(["1", "y", "x"])), "X: column 'town' holds 'y'"),
        (FRAME.assign(day=pd.date_range("2020", periods=3)), "X: column 'day' holds Timestamp"),
        (np.array([["1", "2"], ["3", "red"]]), "X: column 1 holds 'red', which is no number"),
    ],
)
def test_a_column_of_texts_or_times_is_named_with_what_to_do(table: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*: leave it out, or encode it"):
        table_of(BaseEstimator(), table)


@pytest.mark.parametrize("table", [X[0], csr_matrix(X), [[1.0, {}]]])
def test_what_is_no_table_for_other_reasons_is_refused_as_ever(table: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as theirs:
        validate_data(BaseEstimator(), table, dtype=[np.float64, np.float32])
    with pytest.raises(theirs.type) as ours:
        table_of(BaseEstimator(), table)
    assert str(ours.value) == str(theirs.value)


def test_numbers_are_a_table_whatever_they_are_written_as() -> None:
    for table in (FRAME, FRAME.astype(str), FRAME.astype(object), FRAME.astype("Int64"), X > 2):
        assert table_of(BaseEstimator(), table).dtype.kind == "f"


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


@pytest.mark.parametrize(
    "y, task, message",
    [
        (["a", 1.0], "auto", "y holds texts, as 'a', and others"),
        (pd.DataFrame({"p": [0.5, 1.5], "q": ["a", "b"]}), "auto", "and others"),
        (["a", "b"], "regression", "a regression predicts numbers"),
    ],
)
def test_targets_of_the_wrong_kind_are_refused(y: Any, task: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_targets(y, task)
    check_targets(["a", "b"], "auto")
    check_targets([0.5, 1.5], "regression")


def test_what_an_earlier_fit_has_learned_is_forgotten() -> None:
    estimator = BaseEstimator()
    estimator.support_, estimator.given = np.ones(2), 1
    forget(estimator)
    assert vars(estimator) == {"given": 1}


def test_where_no_column_varies_there_is_nothing_to_select() -> None:
    with pytest.raises(ValueError, match="none of its 2 columns varies"):
        split(np.ones((5, 2)), torch.zeros(5), 0.0, np.random.RandomState(0))
