"""Choice: what validation speaks for; where that is nothing, one feature, and it is said."""

from __future__ import annotations

import pytest
import torch

from l1prune.features.choice import choose
from l1prune.features.path import Path, PathPoint


def point(sizes: list[float], loss: float) -> PathPoint:
    kept = torch.tensor(sizes)
    return PathPoint(1, 1.0, int((kept > 0).sum()), (), (), loss, 0.1, kept)


def of(*points: PathPoint) -> Path:
    return Path(points, torch.tensor([2, 0, 1]), torch.tensor([0.2, 0.1, 0.3]))


ALL, TWO, ONE = [1.0, 1.0, 1.0], [0.5, 0.0, 0.6], [0.0, 0.0, 0.7]
NONE = [0.0, 0.0, 0.0]


def test_a_number_is_taken_from_the_ranking_and_judged_by_nothing() -> None:
    choice = choose(of(point(ALL, 1.0), point(NONE, 0.5)), 2)
    assert (choice.features.tolist(), choice.beats_none) == ([2, 0], None)


@pytest.mark.parametrize(("fewest", "features"), [(True, [2]), (False, [0, 2])])
def test_features_that_predict_better_than_none_are_the_choice(
    fewest: bool, features: list[int]
) -> None:
    path = of(point(ALL, 0.7), point(TWO, 0.5), point(ONE, 0.55), point(NONE, 0.58))
    choice = choose(path, None, fewest)
    assert (choice.features.tolist(), choice.beats_none) == (features, True)


@pytest.mark.parametrize("fewest", [True, False])
def test_where_none_predicts_as_well_one_is_chosen_with_a_size_of_its_own(fewest: bool) -> None:
    choice = choose(of(point(ALL, 1.0), point(NONE, 0.5)), None, fewest)
    assert (choice.features.tolist(), choice.beats_none) == ([2], False)
    assert choice.sizes[2] == pytest.approx(0.3)


def test_the_fewest_within_an_error_may_be_no_better_than_none() -> None:
    choice = choose(of(point(TWO, 0.5), point(ONE, 0.58), point(NONE, 0.55)), None)
    assert (choice.features.tolist(), choice.beats_none) == ([2], False)


def test_a_path_that_never_ends_in_none_cannot_be_beaten_by_it() -> None:
    assert choose(of(point(ALL, 0.5)), None).beats_none is True
