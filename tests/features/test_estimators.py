"""L1NetClassifier, L1NetRegressor: at home in scikit-learn, and no worse for fewer columns."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from l1prune.features.estimators import L1NetClassifier, L1NetRegressor


@parametrize_with_checks([L1NetClassifier(), L1NetRegressor()])
def test_scikit_learn_finds_nothing_amiss(estimator, check) -> None:
    check(estimator)
