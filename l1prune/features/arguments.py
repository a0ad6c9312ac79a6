"""Arguments of estimators: stored as they are given, and refused in a sentence by `fit`.

Scikit-learn asks that no constructor refuses anything, so that `clone` and `set_params` work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from torch import nn

from l1prune.checks import in_words, is_number, is_whole, listed
from l1prune.features.path import Recipe
from l1prune.features.refit import Refit
from l1prune.features.screening import Screening
from l1prune.penalties.penalty import is_separable, makes_zeros

TASKS = ("auto", "classification", "regression")


class Estimator(Protocol):
    """What has arguments, as scikit-learn's estimators do."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """They by name."""
        ...


def check_arguments(estimator: Estimator) -> None:
    """Refuse arguments that would make no sense whatever the data.

    Args:
        estimator: one of ours.

    Raises:
        ValueError: the first such argument, its value, and what would be right.

    >>> from l1prune import L1FeatureSelector
    >>> check_arguments(L1FeatureSelector(hidden_layer_sizes=0))
    Traceback (most recent call last):
    ValueError: hidden_layer_sizes=0: give whole numbers ≥ 1, as (100,)
    """
    arguments = estimator.get_params(deep=False)
    for name, value in arguments.items():
        is_right, right = _RIGHT[name]
        if not is_right(value):
            raise ValueError(f"{name}={in_words(value)}: give {right}")
    number, rate = arguments["n_features_to_select"], arguments.get("false_discovery_rate")
    if rate is not None and number != "auto":
        raise ValueError(
            f"false_discovery_rate={rate} and n_features_to_select={number!r} both say how many "
            "features are selected: give one of them"
        )


def widths(hidden_layer_sizes: Any) -> list[int] | None:
    """Whole numbers ≥ 1, or a single one, as a list; None: they are something else.

    >>> widths((30, 20)), widths(5), widths((0.5,))
    ([30, 20], [5], None)
    """
    sizes = [hidden_layer_sizes] if is_whole(hidden_layer_sizes, 1) else listed(hidden_layer_sizes)
    good = sizes is not None and all(is_whole(size, 1) for size in sizes)
    return [int(size) for size in sizes or ()] if good else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    if value is None or _is_text(value):
        return value in (None, "auto")
    return is_whole(value, 1) or (is_number(value, 0, 1) and value > 0)


def _is_share(value: Any) -> bool:
    return is_number(value, 0, 1) and 0 < value < 1


def _is_network(value: Any) -> bool:
    return value is None or (callable(value) and not isinstance(value, nn.Module))


def _is_layer(value: Any) -> bool:
    names = listed(value)
    return _is_text(value) or (bool(names) and all(map(_is_text, names or ())))


def _is_penalty(value: Any) -> bool:
    able = all(callable(getattr(value, name, None)) for name in ("score", "value", "prox_"))
    if value is None or isinstance(value, type) or not able:
        return value is None
    return is_separable(value) and makes_zeros(value)


def _is_groups(value: Any) -> bool:
    if value is None:
        return True
    groups = listed(value)
    return groups is not None and all(map(_is_group, groups))


def _is_group(value: Any) -> bool:
    columns = listed(value) or []
    return bool(columns) and all(_is_text(one) or is_whole(one, 0) for one in columns)


def _is_seed(value: Any) -> bool:
    drawn = value is None or value is np.random or isinstance(value, np.random.RandomState)
    return drawn or (is_whole(value, 0) and value < 2**32)


_RIGHT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "n_features_to_select": (
        _is_count,
        "'auto', None, a whole number ≥ 1, or a share of the features in (0, 1]",
    ),
    "task": (
        lambda value: _is_text(value) and value in TASKS,
        "'classification', 'regression' or 'auto'",
    ),
    "network": (
        _is_network,
        "a function, or a class, that makes a torch.nn.Module of the numbers of columns and of "
        "outputs; or None",
    ),
    "hidden_layer_sizes": (
        lambda value: widths(value) is not None,
        "whole numbers ≥ 1, as (100,)",
    ),
    "layer": (_is_layer, "the name of the layer that sees the columns, or a list of names"),
    "penalty": (
        _is_penalty,
        "a penalty of single weights that makes zeros, as LogSum(0.05), MCP() or L1(); or None",
    ),
    "groups": (
        _is_groups,
        "lists of columns (their numbers from 0 on, or their names), as [[0, 1], [4, 5]]; or None",
    ),
    "recipe": (
        lambda value: value is None or isinstance(value, Recipe),
        "a Recipe() of l1prune.features.path, or None",
    ),
    "refit": (
        lambda value: value is None or isinstance(value, Refit),
        "a Refit() of l1prune.features.refit, or None",
    ),
    "screening": (
        lambda value: value is None or isinstance(value, Screening),
        "a Screening() of l1prune.features.screening, or None",
    ),
    "false_discovery_rate": (
        lambda value: value is None or _is_share(value),
        "a share of false ones in (0, 1), as 0.1, or None",
    ),
    "validation_fraction": (_is_share, "a share of the rows in (0, 1), as 0.15"),
    "stability": (lambda value: is_whole(value, 0), "a whole number of pairs, or 0"),
    "verbose": (
        lambda value: isinstance(value, bool | np.bool_) or is_whole(value, 0),
        "True or False",
    ),
    "random_state": (
        _is_seed,
        "a whole number in [0, 2**32), a numpy.random.RandomState, or None",
    ),
}
"""What is right for each argument, and how that is said."""


def number_of(asked: int | float | str | None, features: int) -> int | None:
    """How many features `n_features_to_select` asks for; None: as many as validation says.

    Raises:
        ValueError: there are not so many.

    >>> number_of(5, features=20), number_of(0.1, features=20), number_of("auto", features=20)
    (5, 2, None)
    """
    if asked is None or isinstance(asked, str):
        return None
    if not is_whole(asked, 1):
        return max(1, round(float(asked) * features))
    if int(asked) > features:
        there = f"there {'is 1 feature' if features == 1 else f'are {features} features'}"
        raise ValueError(f"n_features_to_select={asked!r}: {there}; give no more")
    return int(asked)
