"""Choice: which features of a path are selected, and whether they say more than none does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1prune.features.path import Path


@dataclass(frozen=True, eq=False)
class Choice:
    """What is selected on a path.

    Attributes:
        features: their numbers.
        sizes: of all features, the root mean square of their weights where these were chosen.
        beats_none: whether the held-back rows are predicted better with them than with none; None:
            it was said how many, and no rows were held back.
    """

    features: NDArray[np.int64]
    sizes: NDArray[np.float64]
    beats_none: bool | None


def choose(path: Path, count: int | None, fewest: bool = True) -> Choice:
    """Choose on a path: so many features, or those of the point that validation speaks for.

    One is chosen at least, the best ranked, also where none would do as well.

    Args:
        path: of a network.
        count: how many; None: as validation says.
        fewest: by validation, those that do within one standard error of the best; else the best.
    """
    ranked, sizes = path.ranked.numpy(), path.sizes.numpy()
    if count is not None:
        return Choice(ranked[:count], sizes, None)
    point = path.smallest if fewest else path.best
    beats = all(other.n_features or other.loss > point.loss for other in path.points)
    if not point.n_features:
        return Choice(ranked[:1], sizes, beats)
    sizes = point.sizes.numpy()
    return Choice(sizes.nonzero()[0], sizes, beats)


def in_vain(asked: object) -> str:
    """What is said where the features chosen do not beat none.

    Args:
        asked: how many were asked for, as `n_features_to_select` has it.

    >>> in_vain("auto").split(",")[0]
    "n_features_to_select='auto': held-back rows are predicted no better with what is selected"
    """
    return (
        f"n_features_to_select={asked!r}: held-back rows are predicted no better with what is "
        "selected, one column at least, than with none: perhaps none matters; give more rows, or "
        "say how many columns"
    )
