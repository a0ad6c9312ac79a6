"""A path: pressure that grows, and the point on it that is chosen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from l1prune.features.networks import perceptron
from l1prune.features.path import Path, PathPoint, Recipe, walk
from l1prune.features.penalty import FeaturePenalty
from l1prune.features.rows import Rows, Scale
from l1prune.features.tasks import Regression


def point(n_features: int, loss: float, error: float = 0.1) -> PathPoint:
    return PathPoint(1, 1.0, n_features, (), (), loss, error, torch.zeros(3))


def of(*points: PathPoint) -> Path:
    return Path(points, torch.arange(3), torch.zeros(3))


def test_the_smallest_set_within_one_standard_error_of_the_best_is_chosen() -> None:
    path = of(point(9, 1.0), point(5, 0.5), point(3, 0.55), point(2, 0.61))
    assert (path.best.n_features, path.smallest.n_features) == (5, 3)


def test_no_features_at_all_are_chosen_only_where_there_is_nothing_else() -> None:
    path = of(point(2, 0.55), point(0, 0.5))
    assert path.smallest.n_features == 2


def test_a_path_of_some_features_speaks_of_them_by_the_numbers_they_have_among_all() -> None:
    some = PathPoint(1, 1.0, 1, (0,), (1,), 0.5, 0.1, torch.tensor([0.0, 2.0]))
    path = Path((some,), torch.tensor([1, 0]), torch.tensor([0.3, 2.0]))
    found = path.among(np.array([3, 5]), 6)
    assert found.ranked.tolist() == [5, 3]
    assert found.sizes.tolist() == pytest.approx([0, 0, 0, 0.3, 0, 2.0])
    assert (found.best.left, found.best.came_back) == ((3,), (5,))
    assert found.best.sizes.tolist() == [0, 0, 0, 0, 0, 2.0]


@pytest.mark.parametrize("rows", [3, 30, 1000, 10**6])
def test_the_length_of_a_path_has_bounds(rows: int) -> None:
    recipe = Recipe()
    steps = recipe.steps(rows)
    assert recipe.least_steps <= steps < recipe.most_steps + recipe.epochs
    assert steps % recipe.epochs == 0
    assert 1 <= recipe.batch_size(rows) <= min(rows, recipe.largest_batch)


def test_lambda_grows_by_the_same_factor() -> None:
    strengths = [Recipe().strength(p / 10) for p in range(11)]
    factors = [b / a for a, b in pairwise(strengths)]
    np.testing.assert_allclose(factors, factors[0])
    assert strengths[0] == pytest.approx(0.1) and strengths[-1] == pytest.approx(3.0)


def test_the_last_to_leave_is_what_matters() -> None:
    draw = np.random.RandomState(0)
    x = draw.normal(size=(300, 12))
    task, scale = Regression(x[:, 4] - 2 * x[:, 9]), Scale(x)
    rows = Rows(x, task.y, scale)
    torch.manual_seed(0)
    said: list[PathPoint] = []
    path = walk(
        perceptron(12, 1, (20,)),
        task.losses,
        rows,
        rows,
        FeaturePenalty(),
        Recipe(epochs=20),
        draw,
        until=2,
        note=said.append,
    )
    assert path.ranked[:2].sort().values.tolist() == [4, 9]
    assert said == [*path.points] and path.points[-1].n_features <= 2 < path.points[-2].n_features
    left = {one for p in path.points for one in p.left}
    assert left >= {*range(12)} - {4, 9}
