"""Knockoffs: copies of columns that are as the columns are, but know nothing of the targets.

A column that matters outlasts its knockoff; one that does not is as likely to outlast it as not,
so that the knockoffs that win tell how many of the columns that win are false.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1prune.features.rows import Scale

ROWS_PER_COLUMN = 4
"""From how many on the covariance is estimated without shrinkage."""

SWEEPS, SETTLED = 20, 1e-3
"""How often all features are gone through at most, and which change ends it before."""


def gaussian_knockoffs(
    x: NDArray[Any], generator: np.random.RandomState, owners: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Knockoffs of columns that are jointly Gaussian, of the shape of `x`.

    Args:
        x: `(rows, columns)`.
        generator: draws.
        owners: `(columns,)`, of which feature each column is; None: of one each. A feature and its
            knockoff may be exchanged as a whole.

    Source: Candès, Fan, Janson and Lv, "Panning for gold: 'model-X' knockoffs for high dimensional
    controlled variable selection", JRSS B 80, 2018, 3.1.1.

    >>> x = np.random.RandomState(0).normal(size=(2000, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    >>> copies = gaussian_knockoffs(x, np.random.RandomState(1))
    >>> abs(np.cov(copies.T) - np.cov(x.T)).max() < 0.1
    np.True_
    """
    scale = Scale(x)  # of columns however large
    mean, deviation = scale.mean, scale.deviation
    z = (x - mean) / deviation
    covariance = covariance_of(z)
    s = distance(covariance, np.arange(x.shape[1]) if owners is None else owners)
    reduced = np.linalg.solve(covariance, s)
    values, vectors = np.linalg.eigh(2 * s - s @ reduced)
    root = vectors * np.sqrt(values.clip(min=0))
    drawn = z - z @ reduced + generator.normal(size=z.shape) @ root.T
    found: NDArray[Any] = (drawn * deviation + mean).astype(x.dtype)
    return found


def covariance_of(z: NDArray[Any]) -> NDArray[Any]:
    """The covariance of centered columns: their own, or, of few rows, shrunk as Ledoit and Wolf do.

    Shrunk, columns that correlate highly have knockoffs that do so less, which are then smaller in
    a network, and lose too often.

    >>> covariance_of(np.array([[1.0, 1.0], [-1.0, 1.0]] * 4 + [[0.0, -2.0]] * 4)).tolist()
    [[0.666..., 0.0], [0.0, 2.000...]]
    """
    from sklearn.covariance import ledoit_wolf

    if len(z) < ROWS_PER_COLUMN * z.shape[1]:
        shrunk: NDArray[Any] = ledoit_wolf(z, assume_centered=True)[0]
        return shrunk
    own: NDArray[Any] = z.T @ z / len(z)
    return own + 1e-6 * np.diag(np.maximum(own.diagonal(), 1e-6))  # columns may say the same


def distance(covariance: NDArray[Any], owners: NDArray[Any]) -> NDArray[Any]:
    """By how much the covariance of columns with their knockoffs is less than among themselves.

    It is 0 but within features, and makes the entropy of columns and knockoffs together the
    largest: each block in turn is what does so beside the others.

    Args:
        covariance: `(columns, columns)`, of full rank.
        owners: `(columns,)`, of which feature each column is.

    Source: Spector and Janson, "Powerful knockoffs via minimizing reconstructability", Ann.
    Statist. 50, 2022, of single columns.

    >>> distance(np.eye(2), np.arange(2))
    array([[1., 0.],
           [0., 1.]])
    """
    features = [np.flatnonzero(owners == one) for one in np.unique(owners)]
    s = np.zeros_like(covariance)
    inverse = np.linalg.inv(2 * covariance)  # of 2Σ − S
    for _ in range(SWEEPS):
        largest = 0.0
        for one in features:
            block, across = np.ix_(one, one), inverse[:, one]
            change = (np.linalg.inv(inverse[block]) - s[block]) / 2
            s[block] += change
            inverse += (
                across
                @ change
                @ np.linalg.solve(np.eye(len(one)) - inverse[block] @ change, across.T)
            )
            largest = max(largest, float(np.abs(change).max()))
        if largest < SETTLED:
            break
    return s


def knockoff_threshold(w: NDArray[Any], level: float) -> float:
    """From which advantage over its knockoff on a column is selected.

    Args:
        w: of each column, how much more than its knockoff it is worth; negative: less.
        level: the share of false ones among the selected that is allowed on the average.

    Returns:
        The least t > 0 with (1 + #{w ≤ −t}) / #{w ≥ t} ≤ level; ∞ if there is none.

    Source: Barber and Candès, "Controlling the false discovery rate via knockoffs", Ann. Statist.
    43, 2015, knockoff+.

    >>> knockoff_threshold(np.array([5.0, 4.0, 3.0, 2.0, -1.0]), level=0.25)
    2.0
    """
    for t in np.unique(np.abs(w[w != 0])):
        if (1 + (w <= -t).sum()) <= level * (w >= t).sum():
            return float(t)
    return float("inf")
