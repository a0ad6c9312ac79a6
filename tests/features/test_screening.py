"""Screening: short paths before the long one, where there are many features for the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l1prune.features.path import Path, PathPoint, Recipe
from l1prune.features.screening import Screening, by_best_place, screened


class Walks:
    """Paths that rank features by given worths, a list for each, and note what was asked."""

    def __init__(self, *worths: list[float]) -> None:
        self.worths = [np.array(one) for one in worths]
        self.asked: list[tuple[list[int], int, int]] = []

    def __call__(self, features: np.ndarray, recipe: Recipe, until: int) -> Path:
        worth = self.worths[min(len(self.asked), len(self.worths) - 1)][features]
        self.asked.append((features.tolist(), recipe.epochs, until))
        point = PathPoint(1, 1.0, len(features), (), (), 0.5, 0.1, torch.from_numpy(worth))
        ranked = torch.from_numpy(np.argsort(-worth))
        return Path((point,), ranked, torch.from_numpy(worth))


FEW = Screening(networks=2, share=0.5, least=2)
FIRST = [9.0, 1.0, 2.0, 3.0, 8.0, 0.0, 4.0, 5.0]  # finds 0 and 4
SECOND = [0.0, 9.0, 1.0, 8.0, 2.0, 5.0, 3.0, 4.0]  # finds 1 and 3
LAST = [1.0, 4.0, 0.0, 3.0, 2.0, 0.0, 0.0, 0.0]


def test_what_any_of_the_networks_finds_goes_on() -> None:
    walks = Walks(FIRST, SECOND, LAST)
    path = screened(walks, 8, 1, Recipe(epochs=10), Screening(2, 0.5, least=4), until=1)
    assert [features for features, _, _ in walks.asked] == [[*range(8)], [*range(8)], [0, 1, 3, 4]]
    assert [(epochs, until) for _, epochs, until in walks.asked] == [(6, 2), (6, 2), (10, 1)]
    assert path.ranked[:4].tolist() == [1, 3, 4, 0]
    assert sorted(path.ranked.tolist()) == [*range(8)]
    assert path.sizes.tolist() == [1, 4, 0, 3, 2, 0, 0, 0]
    assert [(point.network, point.n_features) for point in path.points] == [(1, 8), (2, 8), (3, 4)]


def test_what_went_first_ranks_last() -> None:
    path = screened(Walks([*map(float, range(8))]), 8, 1, Recipe(), FEW)
    assert path.ranked.tolist() == [*reversed(range(8))]


@pytest.mark.parametrize(
    ("features", "rows", "asked", "go_on"),
    [
        (500, 1700, 0, 125),
        (500, 10**6, 0, 500),  # rows enough to learn from
        (30, 50, 0, 30),  # few
        (617, 1400, 50, 154),
        (617, 1400, 100, 617),  # most of them asked for
    ],
)
def test_only_many_features_for_the_rows_are_screened(
    features: int, rows: int, asked: int, go_on: int
) -> None:
    assert Screening().fewer(features, rows, asked) == go_on
    assert Screening(networks=0).fewer(features, rows, asked) == features


def test_a_feature_is_worth_its_best_place() -> None:
    rankings = [np.array([4, 2, 7, 6]), np.array([6, 7, 2, 4])]
    assert by_best_place(rankings).tolist() == [4, 6, 2, 7]


@pytest.mark.parametrize(
    "arguments", [{"networks": -1}, {"share": 1.0}, {"length": 0.0}, {"rows": 0}, {"least": 0}]
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, float]) -> None:
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Screening(**arguments)
