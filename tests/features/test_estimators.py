"""L1NetClassifier, L1NetRegressor: at home in scikit-learn, and no worse for fewer columns."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from l1prune.features.estimators import L1NetClassifier, L1NetRegressor
from l1prune.features.path import Recipe
from l1prune.features.refit import Refit

SHORT, FEW = Recipe(epochs=5, least_steps=20), Refit(epochs=30, lr=1e-2, least_steps=300)


@parametrize_with_checks(
    [L1NetClassifier(recipe=SHORT, refit=FEW), L1NetRegressor(recipe=SHORT, refit=FEW)]
)
def test_scikit_learn_finds_nothing_amiss(estimator, check) -> None:
    check(estimator)
