"""Given: tables and targets of scikit-learn's users, and what is said of those that are none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np

from l1prune.checks import is_numeral, needing

with needing("features", "feature selection as in scikit-learn"):
    from sklearn.utils.validation import validate_data


def check_targets(y: Any, task: str) -> None:
    """Refuse targets that are times, texts where numbers are to be predicted, or partly texts.

    Args:
        y: as scikit-learn takes targets.
        task: as of `task_of`.

    Raises:
        ValueError: says what would be right.
    """
    if not (holds_times(y) or _may_hold_texts(y)):
        return  # numbers, perhaps millions of them
    cells = [*_cells(y).flat]
    if times := [one for one in cells if is_time(one)]:
        raise ValueError(
            f"y holds times, as {times[0]!s}: give numbers, as the days since the first, for a "
            "regression, or texts, as of astype(str), for classes"
        )
    texts = [one for one in cells if isinstance(one, str)]
    if texts and len(texts) < len(cells) and None not in cells:
        raise ValueError(
            f"y holds texts, as {texts[0]!r}, and others: give targets of one kind, and fit texts "
            "and numbers one after the other"
        )
    if texts and task == "regression":
        raise ValueError(
            f"y holds texts, as {texts[0]!r}: a regression predicts numbers; texts are classes, "
            "those of L1NetClassifier and of task='classification'"
        )


def table_of(estimator: Any, X: Any, *y: Any, **how: Any) -> Any:  # noqa: N803  # their name
    """What scikit-learn's `validate_data` makes of a table; texts in it are named.

    Args:
        estimator: that learns from it, or predicts.
        X: the table.
        y: the targets, where there are any.
        how: more arguments of `validate_data`.

    Raises:
        ValueError: it is no table of numbers, or no targets.
    """
    try:
        if holds_times(X) and next(_no_numbers(X), None):  # which would be numbers of any unit
            raise TypeError("X holds times")
        return validate_data(estimator, X, *y, dtype=[np.float64, np.float32], **how)
    except (TypeError, ValueError) as error:
        if found := next(_no_numbers(X), None):
            column, value = found
            raise ValueError(
                f"X: column {column!r} holds {value!r}, which is no number: leave it out, or "
                "encode it, categories as by OneHotEncoder, with the columns of a variable as one "
                "of groups; `l1prune select` takes a file with texts as it is"
            ) from error
        raise


def _no_numbers(X: Any) -> Iterator[tuple[Any, Any]]:  # noqa: N803
    """Of each column with a text or a time, its name, or its number, and the first of these."""
    named = hasattr(X, "columns") and hasattr(X, "items")
    plain = None if named else _cells(X)
    if plain is not None and plain.ndim != 2:
        return
    for name, cells in X.items() if plain is None else enumerate(plain.T):
        for cell in cells:
            if is_time(cell) or (isinstance(cell, str) and not is_numeral(cell)):
                yield name, cell
                break


def holds_times(values: Any) -> bool:
    """Whether an array, or a column of a frame, is of a type of times.

    >>> holds_times(np.array(["2024-03-01"], dtype="M8[D]")), holds_times([1.5])
    (True, False)
    """
    named = hasattr(values, "columns") and hasattr(values, "dtypes")
    types = values.dtypes if named else [getattr(values, "dtype", None)]
    kinds = [getattr(getattr(one, "categories", None), "dtype", one) for one in types]
    return any(getattr(one, "kind", "") in ("m", "M") for one in kinds)


def is_time(value: Any) -> bool:
    """Whether a value is a date, a time, a span of time or, in pandas, a period.

    >>> is_time(date(2024, 3, 1)), is_time(np.timedelta64(1, "D")), is_time("2024-03-01")
    (True, True, False)
    """
    kinds = (date, timedelta, np.datetime64, np.timedelta64)
    return isinstance(value, kinds) or hasattr(value, "to_timestamp")


def _may_hold_texts(y: Any) -> bool:
    kind = getattr(getattr(y, "dtype", None), "kind", "O")
    return kind in "OUS" and not hasattr(y, "toarray")


def _cells(values: Any) -> Any:
    """Values as they are, in an array: times stay times, where numpy would have whole numbers."""
    array = np.asarray(values)
    return array if holds_times(array) else np.asarray(values, dtype=object)


def names_of(estimator: Any) -> list[str]:
    """The names of the columns that an estimator has seen; of nameless ones x0, x1 and so on."""
    known = getattr(estimator, "feature_names_in_", None)
    columns = range(estimator.n_features_in_)
    return [f"x{at}" for at in columns] if known is None else [str(name) for name in known]
