"""L1FeatureSelector: right where the truth is known, and at home in scikit-learn."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from l1prune import PruningWarning
from l1prune.features.networks import perceptron
from l1prune.features.path import Recipe
from l1prune.features.screening import Screening
from l1prune.features.selector import L1FeatureSelector

SHORT = Recipe(epochs=5, least_steps=20)


@parametrize_with_checks([L1FeatureSelector(recipe=SHORT)])
def test_scikit_learn_finds_nothing_amiss(estimator, check) -> None:
    check(estimator)


def pairs(rows: int = 400, columns: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Classes by the sign of a product: neither of its columns says anything by itself."""
    x = np.random.RandomState(0).normal(size=(rows, columns))
    return x, np.where(x[:, 3] * x[:, min(7, columns - 1)] > 0, "same", "opposite")


@pytest.fixture(scope="module")
def fitted() -> L1FeatureSelector:
    return L1FeatureSelector(random_state=0).fit(*pairs())


def test_columns_are_found_that_matter_only_together(fitted: L1FeatureSelector) -> None:
    assert fitted.get_support(indices=True).tolist() == [3, 7]
    assert fitted.n_features_to_select_ == 2 and fitted.classes_.tolist() == ["opposite", "same"]
    assert (fitted.ranking_ == 1).tolist() == fitted.support_.tolist()
    assert sorted(fitted.ranking_) == [1, *range(1, 20)]
    assert (fitted.feature_importances_ > 0).tolist() == fitted.support_.tolist()
    assert fitted.beats_none_ is True
    assert fitted.transform(pairs()[0]).shape == (400, 2)


def test_the_path_says_who_left_when(fitted: L1FeatureSelector) -> None:
    left = {name for row in fitted.path_ for name in row["left"]}
    assert left >= {f"x{at}" for at in range(20)} - {"x3", "x7"}
    assert [row["epoch"] for row in fitted.path_] == [*range(1, fitted.n_iter_ + 1)]
    strengths = [row["strength"] for row in fitted.path_]
    assert strengths == sorted(strengths)


@pytest.mark.parametrize("asked", ["auto", None])
def test_of_noise_one_column_is_selected_with_a_warning_and_a_size(asked: str | None) -> None:
    draw = np.random.RandomState(1)
    x, y = draw.normal(size=(200, 10)), draw.normal(size=200) > 0
    quick = Recipe(epochs=20, least_steps=300)
    selector = L1FeatureSelector(asked, recipe=quick, stability=1, random_state=0)
    with pytest.warns(
        PruningWarning, match=f"n_features_to_select={asked!r}.* than with none"
    ) as w:
        selector.fit(x, y)
    assert len(w) == 1, "the halves, which nobody looks at, say nothing"
    assert selector.beats_none_ is False and selector.n_features_to_select_ == 1
    assert (selector.feature_importances_ > 0).tolist() == selector.support_.tolist()
    assert selector.set_params(n_features_to_select=2).fit(x, y).beats_none_ is None


def test_units_of_columns_change_nothing() -> None:
    x, y = pairs()
    units = 10.0 ** np.arange(-10, 10)
    scaled = L1FeatureSelector(random_state=0).fit(x * units + 3 * units, y)
    assert scaled.get_support(indices=True).tolist() == [3, 7]


def test_names_groups_and_frames() -> None:
    x, _ = pairs(columns=6)
    frame = pd.DataFrame(np.hstack([x, x[:, [3]] > 0]), columns=[*"abcdefg"])
    selector = L1FeatureSelector(2, groups=[["d", "g"]], recipe=Recipe(epochs=10), random_state=0)
    y = np.where(frame["d"] * frame["b"] > 0, 1.5, -0.5)
    selector.set_output(transform="pandas").fit(frame, y)
    assert [*selector.transform(frame).columns] == ["b", "d", "g"]
    assert selector.ranking_[3] == selector.ranking_[6] == 1
    assert selector.n_features_to_select_ == 2


@pytest.mark.parametrize(("asked", "many"), [(2, 2), (0.5, 2), (1.0, 4)])
def test_a_group_counts_as_one_feature_wherever_features_are_counted(
    asked: int | float, many: int
) -> None:
    x, _ = pairs(120, 9)
    groups = [[0, 1, 2, 3], [4, 5], [7, 8]]  # and the sixth by itself
    selector = L1FeatureSelector(asked, groups=groups, recipe=SHORT, random_state=0)
    selector.fit(x, x[:, 0] - x[:, 3] + x[:, 6])
    assert selector.n_features_to_select_ == many
    assert {*selector.ranking_} == {*range(1, 6 - many)}
    assert all(len({*selector.ranking_[group]}) == 1 for group in groups)
    assert selector.path_[0]["n_features"] <= 4
    assert {name for row in selector.path_ for name in row["left"]} <= {
        "x0+x1+x2+x3",
        "x4+x5",
        "x6",
        "x7+x8",
    }


def test_the_same_seed_selects_the_same_and_disturbs_no_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x, y = pairs(60, 5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (
        L1FeatureSelector(recipe=SHORT, random_state=3).fit(x, y).path_ for _ in range(2)
    )
    assert first == second
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert capsys.readouterr() == ("", "")


def test_it_works_in_a_search_on_two_cores() -> None:
    x, y = pairs(90, 6)
    pipeline = make_pipeline(L1FeatureSelector(recipe=SHORT, random_state=0), GaussianNB())
    sizes = {"l1featureselector__n_features_to_select": [1, 0.5, None]}
    search = GridSearchCV(pipeline, sizes, cv=2, n_jobs=2).fit(x, y)
    best = search.best_estimator_
    assert pickle.loads(pickle.dumps(best)).predict(x).tolist() == best.predict(x).tolist()
    assert clone(best[0]).get_params()["recipe"] == SHORT


def test_a_network_of_ones_own_whose_layers_both_see_the_columns() -> None:
    class Wide(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.first, self.skip = nn.Linear(inputs, 30), nn.Linear(inputs, outputs)
            self.last = nn.Linear(30, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.skip(x) + self.last(self.first(x).relu())

    x, _ = pairs(200, 10)
    y = np.column_stack([x[:, 3] - x[:, 7], x[:, 3] + x[:, 7]])  # two outputs
    selector = L1FeatureSelector(2, network=Wide, layer=("first", "skip"), random_state=0)
    assert selector.fit(x, y).get_support(indices=True).tolist() == [3, 7]


def test_many_columns_are_screened_by_networks_of_fewer_and_fewer() -> None:
    asked = []

    def network(inputs: int, outputs: int) -> nn.Module:
        asked.append(inputs)
        return perceptron(inputs, outputs, (20,))

    x = np.random.RandomState(0).normal(size=(150, 40))
    y = x[:, 30] * 2 + x[:, 31] + x[:, 5]
    selector = L1FeatureSelector(
        2,
        network=network,
        groups=[[31, 2, 30]],
        recipe=Recipe(epochs=20, least_steps=200),
        screening=Screening(networks=2, share=0.5, least=5),
        random_state=0,
    ).fit(x, y)
    assert asked == [40, 40, 21, 21, 11]  # of 38 features, 19, and 9
    assert selector.get_support(indices=True).tolist() == [2, 5, 30, 31]
    assert sorted({*selector.ranking_}) == [1, *range(2, 38)]
    assert {row["network"] for row in selector.path_} == {*range(1, 6)}


def test_stability_is_the_share_of_halves_that_select_a_column() -> None:
    x, _ = pairs(120, 6)
    selector = L1FeatureSelector(1, recipe=Recipe(epochs=10), stability=2, random_state=0)
    shares = selector.fit(x, x[:, 2]).stability_
    assert shares.tolist() == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features_to_select": "all"}, "n_features_to_select='all': give"),
        ({"n_features_to_select": 7}, "n_features_to_select=7: there are 6 features"),
        ({"groups": [[0, 9]]}, "9 is none of the 6 inputs"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_fitted(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        L1FeatureSelector(**arguments).fit(*pairs(30, 6))


def test_a_layer_that_does_not_see_the_columns_is_refused() -> None:
    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 8), nn.Linear(8, outputs))

    x = np.random.RandomState(0).normal(size=(40, 6))
    selector = L1FeatureSelector(1, network=network, layer="1", random_state=0)
    with pytest.raises(ValueError, match="'1' has 8 inputs, and there are 6 columns"):
        selector.fit(x, x[:, 0] > 0)


def test_labels_may_be_sparse_and_a_constant_target_is_refused() -> None:
    x, _ = pairs(60, 4)
    labels = np.column_stack([x[:, 0] > 0, x[:, 1] > 0]).astype(int)
    quick = L1FeatureSelector(2, recipe=Recipe(epochs=5), random_state=0)
    supports = [quick.fit(x, y).support_.tolist() for y in (labels, csr_matrix(labels))]
    assert supports[0] == supports[1]
    with pytest.raises(ValueError, match=r"y has one value, 0\.5"):
        quick.fit(x, np.full(60, 0.5))


def test_halves_of_few_rows_of_a_class_are_counted_as_they_are() -> None:
    x = np.random.RandomState(0).normal(size=(40, 3))
    y = np.array([1] + [0] * 39)
    quick = Recipe(epochs=2, least_steps=2)
    selector = L1FeatureSelector(1, recipe=quick, stability=1, random_state=0).fit(x, y)
    assert selector.stability_.max() <= 0.5
    with pytest.raises(ValueError, match="stability=1: halves of 3 rows"):
        selector.fit(x[:3], y[:3])


def test_a_network_that_computes_nan_is_named() -> None:
    class Logarithm(nn.Module):
        def __init__(self, columns: int, outputs: int) -> None:
            super().__init__()
            self.first = nn.Linear(columns, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x).log()

    x = np.random.RandomState(0).normal(size=(40, 3))
    with pytest.raises(ValueError, match="network: its loss is nan in epoch 1"):
        L1FeatureSelector(network=Logarithm, random_state=0).fit(x, x[:, 0] > 0)


def test_a_fit_that_is_broken_off_has_learned_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.RandomState(0).normal(size=(40, 3))
    selector = L1FeatureSelector(random_state=0).fit(x, x[:, 0] > 0)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("l1prune.features.selector.walk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        selector.fit(x[:, :2], x[:, 0] > 0)
    with pytest.raises(NotFittedError):
        selector.transform(x[:, :2])
