"""Stability: how often a column is selected when only half of the rows are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Selects = Callable[[NDArray[Any]], NDArray[np.bool_]]
"""From the numbers of rows to which columns are selected on them."""


def stability(
    selects: Selects, rows: int, pairs: int, generator: np.random.RandomState
) -> NDArray[Any]:
    """The share of half samples on which each column is selected, `(columns,)`.

    Args:
        selects: selects columns on some rows.
        rows: how many there are.
        pairs: of halves, which have no row in common.
        generator: draws them.

    Raises:
        ValueError: a half has less than two rows.

    Source: Shah and Samworth, "Variable selection with error control: another look at stability
    selection", JRSS B 75, 2013.

    >>> stability(lambda rows: np.array([True, 0 in rows]), 10, 3, np.random.RandomState(0))
    array([1. , 0.5])
    """
    if rows < 4:
        raise ValueError(f"stability={pairs}: halves of {rows} rows are too few; give at least 4")
    found = []
    for _ in range(pairs):
        order = generator.permutation(rows)
        halves = np.sort(order[: rows // 2]), np.sort(order[rows // 2 : rows // 2 * 2])
        found += [selects(half) for half in halves]
    shares: NDArray[Any] = np.mean(found, axis=0)
    return shares
