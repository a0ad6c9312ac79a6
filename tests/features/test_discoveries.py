"""Discoveries: few of them are false, whatever finds them, and none where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from l1prune.features.discoveries import discover
from l1prune.features.path import Path, PathPoint
from l1prune.features.selector import L1FeatureSelector


def path_of(*sizes: list[float]) -> Path:
    """A path on which features have these sizes."""
    points = tuple(
        PathPoint(at, 1.0, len(one), (), (), 0.0, 0.0, torch.tensor(one))
        for at, one in enumerate(sizes, 1)
    )
    return Path(points, torch.arange(len(sizes[0])), torch.tensor(sizes[-1]))


def test_a_feature_is_worth_its_size_on_the_average_of_the_path_less_its_knockoffs() -> None:
    x = np.random.RandomState(0).normal(size=(50, 3))
    path = path_of([3.0, 1.0, 2.0, 1.0, 1.0, 4.0], [5.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    seen = []

    def walk(both: Any, owners: Any) -> Path:
        seen.append((both.shape, owners.tolist()))
        return path

    found = discover(x, np.arange(3), 0.9, walk, np.random.RandomState(0))
    assert seen == [((50, 6), [0, 1, 2, 3, 4, 5])]
    assert found.advantages.tolist() == [3.5, 0.5, -1.0] and found.worth.tolist() == [4.0, 1.0, 1.0]
    assert not found.selected.any()  # (1 + 0) / 1 and (1 + 1) / 2 are above 0.9


def features(both: np.ndarray, owners: np.ndarray, y: np.ndarray) -> Path:
    """Features by the size of their coefficients in least squares."""
    squares = np.square(np.linalg.lstsq(both, y, rcond=None)[0])
    return path_of((np.bincount(owners, squares) / np.bincount(owners)).tolist())


def test_few_are_false_on_the_average_also_where_features_are_several_columns() -> None:
    """Twenty features of two columns that correlate by 0.9, and twenty single ones."""
    owners = np.repeat(np.arange(40), [2] * 20 + [1] * 20)
    shares, power = [], []
    for seed in range(30):
        draw = np.random.RandomState(seed)
        x = draw.normal(size=(300, 60))
        x[:, 1:40:2] = 0.9 * x[:, :40:2] + np.sqrt(0.19) * x[:, 1:40:2]
        y = x[:, owners % 4 == 0].sum(1) + draw.normal(size=300)
        found = discover(x, owners, 0.2, lambda both, of, y=y: features(both, of, y), draw)
        chosen = found.selected.nonzero()[0]
        false = (chosen % 4 != 0).sum()
        shares.append(false / max(len(chosen), 1))
        power.append((len(chosen) - false) / 10)
    assert np.mean(shares) < 0.2 + 2 * np.std(shares) / 30**0.5 and np.mean(power) > 0.8


def test_the_selector_finds_what_matters_and_tells_of_knockoffs_on_its_path() -> None:
    draw = np.random.RandomState(0)
    x = draw.normal(size=(400, 25))
    y = np.abs(x[:, 0]) + x[:, 1:10].sum(1) + 0.3 * draw.normal(size=400)
    selector = L1FeatureSelector(false_discovery_rate=0.2, random_state=0).fit(x, y)
    assert selector.support_[:10].all()
    found = selector.n_features_to_select_
    assert sorted(selector.ranking_) == [1] * found + [*range(2, 27 - found)]
    left = {name for row in selector.path_ for name in row["left"]}
    assert any(name.startswith("knockoff of x") for name in left)


def test_of_too_few_rows_nothing_is_said() -> None:
    x = np.random.RandomState(0).normal(size=(2, 6))
    with pytest.raises(ValueError, match="n_samples=2, and knockoffs need 10 rows"):
        L1FeatureSelector(false_discovery_rate=0.5).fit(x, ["a", "b"])
