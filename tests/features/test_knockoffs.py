"""Knockoffs: as the columns are to each other, and the level that they promise is held."""

from __future__ import annotations

import numpy as np

from l1prune.features.knockoffs import distance, gaussian_knockoffs, knockoff_threshold


def correlated(rows: int, columns: int, draw: np.random.RandomState) -> np.ndarray:
    x = draw.normal(size=(rows, columns))
    for at in range(1, columns):
        x[:, at] = 0.5 * x[:, at - 1] + np.sqrt(0.75) * x[:, at]
    return x


def test_a_knockoff_stands_to_the_others_as_its_column_does() -> None:
    x = correlated(20_000, 6, np.random.RandomState(0))
    both = np.corrcoef(np.hstack([x, gaussian_knockoffs(x, np.random.RandomState(1))]).T)
    same, across = both[:6, :6], both[:6, 6:]
    np.testing.assert_allclose(both[6:, 6:], same, atol=0.03)
    np.fill_diagonal(across, 1)
    np.testing.assert_allclose(across, same, atol=0.03)


def test_false_ones_are_few_on_the_average_also_among_correlated_columns() -> None:
    """By least squares of columns and knockoffs together."""
    shares, power = [], []
    for seed in range(40):
        draw = np.random.RandomState(seed)
        x = correlated(400, 60, draw)
        y = x[:, :60:4].sum(1) + draw.normal(size=400)
        both = np.hstack([x, gaussian_knockoffs(x, draw)])
        weights = np.abs(np.linalg.lstsq(both, y, rcond=None)[0])
        w = weights[:60] - weights[60:]
        chosen = np.flatnonzero(w >= knockoff_threshold(w, 0.2))
        false = (chosen % 4 != 0).sum()
        shares.append(false / max(len(chosen), 1))
        power.append((len(chosen) - false) / 15)
    assert np.mean(shares) < 0.2 + 2 * np.std(shares) / 40**0.5 and np.mean(power) > 0.5


def test_no_advantage_selects_nothing() -> None:
    assert knockoff_threshold(np.array([1.0, -1.0, 0.0]), 0.1) == float("inf")


def test_two_columns_that_say_the_same_bring_no_other_near_its_knockoff() -> None:
    covariance = np.eye(5)
    covariance[0, 1] = covariance[1, 0] = 1 - 1e-6
    found = distance(covariance, np.arange(5)).diagonal()
    assert (found[:2] < 1e-3).all()
    np.testing.assert_allclose(found[2:], 1)
    together = distance(covariance, np.array([0, 0, 1, 2, 3]))
    np.testing.assert_allclose(together, covariance, atol=1e-6)  # as one feature: far from it


def test_columns_and_knockoffs_have_the_largest_entropy_that_their_distance_allows() -> None:
    x = correlated(2000, 6, np.random.RandomState(0))
    covariance = np.corrcoef(x.T)
    s = distance(covariance, np.arange(6))

    def entropy(s: np.ndarray) -> float:
        return float(np.linalg.slogdet(2 * covariance - s)[1] + np.linalg.slogdet(s)[1])

    for at in range(6):
        for factor in (0.9, 1.1):
            other = s.copy()
            other[at, at] *= factor
            assert entropy(other) < entropy(s)


def test_columns_of_any_size_have_the_knockoffs_of_their_shape() -> None:
    x = np.random.RandomState(0).normal(size=(60, 3))
    units = np.array([1e-200, 1.0, 1e300])
    plain, scaled = (gaussian_knockoffs(one, np.random.RandomState(1)) for one in (x, x * units))
    np.testing.assert_allclose(scaled / units, plain, rtol=1e-9, atol=1e-9)
