"""Stability: halves that have no row in common, and shares of them."""

from __future__ import annotations

import numpy as np

from l1prune.features.stability import stability


def test_halves_are_disjoint_and_all_count() -> None:
    seen: list[np.ndarray] = []

    def selects(rows: np.ndarray) -> np.ndarray:
        seen.append(rows)
        return np.array([True, False, 3 in rows])

    shares = stability(selects, 11, 4, np.random.RandomState(0))
    assert len(seen) == 8 and all(len(half) == 5 for half in seen)
    assert all(not {*a} & {*b} for a, b in zip(seen[::2], seen[1::2]))
    assert shares[0] == 1 and shares[1] == 0 and 0 < shares[2] <= 0.5
