"""L1FeatureSelector: right where the truth is known, and at home in scikit-learn."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from l1prune.features.selector import L1FeatureSelector


@parametrize_with_checks([L1FeatureSelector()])
def test_scikit_learn_finds_nothing_amiss(estimator, check) -> None:
    check(estimator)
