"""Given: tables and targets that are none are named with what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from l1prune.features.given import check_targets, table_of

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


DAYS = pd.date_range("2024-03-01", periods=3)


@pytest.mark.parametrize(
    "times",
    [
        DAYS,
        DAYS.values,
        DAYS.values.astype("M8[D]"),
        DAYS.tz_localize("UTC"),
        DAYS - DAYS[0],
        DAYS.to_period("D"),
        DAYS.to_pydatetime(),
        [day.date() for day in DAYS],
        pd.Series(DAYS).astype("category"),
    ],
)
def test_times_of_any_type_are_neither_targets_nor_numbers(times: Any) -> None:
    frame = pd.DataFrame({"day": times})
    for task in ("auto", "classification", "regression"):
        for y in (times, pd.Series(times), frame, [*times]):
            with pytest.raises(
                ValueError, match=r"^y holds times, as .*: give numbers, as the days"
            ):
                check_targets(y, task)
    for table, name in ((frame, "'day'"), (FRAME.assign(day=times), "'day'"), (frame.values, "0")):
        with pytest.raises(
            ValueError, match=f"^X: column {name} holds .*: leave it out, or encode"
        ):
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
