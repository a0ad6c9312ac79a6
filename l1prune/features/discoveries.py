"""Discoveries: features that outdo their knockoffs, so many that few of them are false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1prune.features.knockoffs import gaussian_knockoffs, knockoff_threshold
from l1prune.features.path import Path

Walk = Callable[[NDArray[Any], NDArray[np.int64]], Path]
"""From columns, and of which feature each is, to a path of a network that sees them."""

Copies = Callable[[NDArray[Any], np.random.RandomState, NDArray[np.int64]], NDArray[Any]]
"""From columns, and of which feature each is, to as many that know nothing of the targets."""


FEWEST = 10
"""Rows, below which nothing can be said of how columns correlate."""


@dataclass(frozen=True, eq=False)
class Discoveries:
    """What outdid its knockoff.

    Attributes:
        selected: `(features,)`, whether it did so by enough.
        advantages: `(features,)`, by how much, negative where the knockoff was worth more.
        worth: `(features,)`, the size of each, on the average of the path.
        path: that was walked; features from the half on are knockoffs.
    """

    selected: NDArray[np.bool_]
    advantages: NDArray[Any]
    worth: NDArray[Any]
    path: Path


def discover(
    x: NDArray[Any],
    owners: NDArray[Any],
    level: float,
    walk: Walk,
    generator: np.random.RandomState,
    copies: Copies = gaussian_knockoffs,
) -> Discoveries:
    """Walk a path with features and their knockoffs, and select those that outdo theirs.

    The initial network does not tell a feature from its knockoff; nor does what it learns from, of
    one that says nothing beside the others: which of the two is larger is then a toss of a coin,
    and the knockoffs that win are as many as the false features that do. This is so as far as the
    columns are jointly Gaussian; what the targets are and what the network is like is no matter.

    Args:
        x: `(rows, columns)`; they and as many knockoffs are held in memory.
        owners: `(columns,)`, of which feature each column is.
        level: the share of false ones among the selected that is allowed on the average, in (0, 1).
        walk: trains the network.
        generator: draws the knockoffs.
        copies: makes them.

    Raises:
        ValueError: there are too few rows to know how columns correlate.

    Source: Candès, Fan, Janson and Lv, "Panning for gold", JRSS B 80, 2018; a network of columns
    and knockoffs: Lu, Fan, Lv and Noble, "DeepPINK: reproducible feature selection in deep neural
    networks", NeurIPS 2018.
    """
    if len(x) < FEWEST:
        raise ValueError(
            f"false_discovery_rate: n_samples={len(x)}, and knockoffs need {FEWEST} rows at least"
        )
    count = int(owners.max()) + 1
    both = np.hstack([x, copies(x, generator, owners)])
    path = walk(both, np.concatenate([owners, owners + count]))
    worth = np.mean([point.sizes.numpy() for point in path.points], axis=0)
    advantages = worth[:count] - worth[count:]
    selected = advantages >= knockoff_threshold(advantages, level)
    return Discoveries(selected, advantages, worth[:count], path)
