"""Screening: of many features, which are worth a long path; several short ones say so.

A network with many columns for its rows finds some of what matters, learns its rows by heart by all
the rest, and sees no more. Another one, which began with other weights, finds another part. So each
feature is worth its best place on the short paths of several networks, and the long path, of a new
network, has fewer features left to learn its rows by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from l1prune.checks import is_number, is_whole
from l1prune.features.path import Path, Recipe

Walk = Callable[[NDArray[np.int64], Recipe, int], Path]
"""From the numbers of features, a recipe, and how many features end it, to a new network's path."""


@dataclass(frozen=True)
class Screening:
    """How often features are screened, and by what.

    Args:
        networks: short paths each time; 0: features are never screened.
        share: of the features that goes on, in (0, 1).
        length: of a short path, as a share of the long one.
        rows: features are screened as long as more than one for so many rows goes on …
        least: … and more than so many.

    >>> Screening().fewer(500, rows=1700), Screening().fewer(500, rows=100_000)
    (125, 500)
    """

    networks: int = 6
    share: float = 0.25
    length: float = 0.6
    rows: int = 20
    least: int = 50

    def __post_init__(self) -> None:
        for name, least in (("networks", 0), ("rows", 1), ("least", 1)):
            if not is_whole(getattr(self, name), least):
                raise ValueError(
                    f"Screening({name}={getattr(self, name)!r}): give a whole number ≥ {least}"
                )
        for name in ("share", "length"):
            value = getattr(self, name)
            if not is_number(value, 0, 1) or value in (0, 1):
                raise ValueError(f"Screening({name}={value!r}): give a share in (0, 1)")

    def fewer(self, features: int, rows: int, asked: int = 0) -> int:
        """How many of the features go on: all of them, where these are not too many.

        Args:
            features: how many there are.
            rows: to learn from.
            asked: how many are to be selected; at least twice as many go on.
        """
        some = math.floor(self.share * features)
        enough = some >= max(rows / self.rows, self.least, 2 * asked)
        return some if self.networks and enough else features


def screened(
    walk: Walk, features: int, rows: int, recipe: Recipe, screening: Screening, until: int = 0
) -> Path:
    """The path of all features: short ones as long as there are too many, and a long one.

    Args:
        walk: trains a network.
        features: how many there are.
        rows: how many there are to learn from.
        recipe: of the long path.
        screening: how.
        until: how many features may be left for the long path to end.
    """
    kept, gone = np.arange(features), np.empty(0, dtype=np.int64)
    paths: list[Path] = []

    def go(recipe: Recipe, until: int) -> Path:
        paths.append(walk(kept, recipe, until).among(kept, features))
        return paths[-1]

    short = replace(recipe, epochs=max(1, round(screening.length * recipe.epochs)))
    while (fewer := screening.fewer(len(kept), rows, until)) < len(kept):
        several = [go(short, fewer // 2) for _ in range(screening.networks)]
        ranked = by_best_place([path.ranked.numpy() for path in several])
        kept, gone = np.sort(ranked[:fewer]), np.concatenate([ranked[fewer:], gone])
    last = go(recipe, until)
    ranked = np.concatenate([last.ranked.numpy(), gone])
    points = (
        replace(point, network=number)
        for number, path in enumerate(paths, 1)
        for point in path.points
    )
    return Path(tuple(points), torch.from_numpy(ranked), last.sizes)


def by_best_place(rankings: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One ranking of several of the same features: by the best place of each, of equals the sum.

    >>> by_best_place([np.array([5, 7, 9, 2]), np.array([2, 7, 5, 9])])
    array([5, 2, 7, 9])
    """
    places = [np.argsort(ranking) for ranking in rankings]  # of each feature, by its number
    by_best = np.lexsort((np.sum(places, axis=0), np.min(places, axis=0)))
    found: NDArray[np.int64] = np.sort(rankings[0])[by_best]
    return found
