"""Given: tables and targets of scikit-learn's users, and what is said of those that are none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np

from l1prune.checks import needing

with needing("features", "feature selection as in scikit-learn"):
    from sklearn.utils.validation import validate_data


def check_targets(y: Any, task: str) -> None:
    """Refuse targets that are texts where numbers are to be predicted, or partly texts.

    Args:
        y: as scikit-learn takes targets.
        task: as of `task_of`.

    Raises:
        ValueError: says what would be right.
    """
    if getattr(getattr(y, "dtype", None), "kind", "O") not in "OUS" or hasattr(y, "toarray"):
        return  # numbers, perhaps millions of them
    cells = np.asarray(y, dtype=object).ravel().tolist()
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
    plain = None if named else np.asarray(X, dtype=object)
    if plain is not None and plain.ndim != 2:
        return
    for name, cells in X.items() if plain is None else enumerate(plain.T):
        for cell in cells:
            if isinstance(cell, date | np.datetime64) or (isinstance(cell, str) and not _is(cell)):
                yield name, cell
                break


def _is(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def names_of(estimator: Any) -> list[str]:
    """The names of the columns that an estimator has seen; of nameless ones x0, x1 and so on."""
    known = getattr(estimator, "feature_names_in_", None)
    columns = range(estimator.n_features_in_)
    return [f"x{at}" for at in columns] if known is None else [str(name) for name in known]
