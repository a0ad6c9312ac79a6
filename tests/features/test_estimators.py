"""L1NetClassifier, L1NetRegressor: at home in scikit-learn, and no worse for fewer columns."""

from __future__ import annotations

import numpy as np
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


def test_several_outputs_of_several_classes_are_predicted_as_they_were_given() -> None:
    x = np.random.RandomState(0).normal(size=(300, 5))
    side = np.where(x[:, 0] > 0, "left", "right")
    size = np.array(["small", "middle", "large"])[np.digitize(x[:, 1], [-0.5, 0.5])]
    y = np.column_stack([side, size])
    net = L1NetClassifier(recipe=Recipe(epochs=10), refit=FEW, random_state=0).fit(x[:200], y[:200])
    assert [one.tolist() for one in net.classes_] == [
        ["left", "right"],
        ["large", "middle", "small"],
    ]
    found = net.predict(x[200:])
    assert found.shape == (100, 2) and {*found[:, 1]} <= {*size}
    assert net.score(x[200:], y[200:]) == (found == y[200:]).all(1).mean() > 0.7
    probabilities = net.predict_proba(x[200:])
    assert [one.shape for one in probabilities] == [(100, 2), (100, 3)]
