"""L1FeatureSelector: right where the truth is known, and at home in scikit-learn."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from l1prune.features.path import Recipe
from l1prune.features.selector import L1FeatureSelector

SHORT = Recipe(epochs=5, least_steps=20)


@parametrize_with_checks([L1FeatureSelector(recipe=SHORT)])
def test_scikit_learn_finds_nothing_amiss(estimator, check) -> None:
    check(estimator)
