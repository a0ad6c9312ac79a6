"""Recipe: each argument with its default, checked before a run begins, and known again in words."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest

from l1prune import (
    L1,
    Budget,
    ByPasses,
    ElasticNet,
    Follow,
    L1Pruning,
    Magnitude,
    Proximal,
    PruningWarning,
    Size,
    Sparsity,
    SparsityPath,
    once,
    rounds,
)
from l1prune.cuts.plans import Once
from l1prune.pressure.schedules import Constant
from l1prune.training.recipe import Recipe, as_recipe
from l1prune.training.rounds import up_to
from l1prune.weights.rules import ByName

ORDER = (
    "strength",
    "threshold",
    "penalty",
    "prune_at",
    "targets",
    "form",
    "rewind",
    "criterion",
)


def recipe(**given: Any) -> Recipe:
    return as_recipe(*(given.get(name) for name in ORDER))


def test_what_is_not_given_is_the_default() -> None:
    made = recipe()
    assert made.strength == ByPasses() and made.threshold == Sparsity(0.95)
    assert made.penalty == L1() and made.prune_at == rounds(0.1, 0.6, 50)
    assert (made.targets, made.form, made.rewind, made.criterion) == (None, None, None, None)


@pytest.mark.parametrize(
    ("given", "prune_at"),
    [
        ({"threshold": Sparsity(0.5)}, rounds(0.1, 0.6, 50)),
        ({"threshold": SparsityPath()}, rounds(0.1, 0.6, 50)),
        ({"threshold": Budget("acc", 0.1)}, rounds(0.1, 0.6, 50)),
        ({"threshold": 0.1}, (0.6,)),
        ({"threshold": Magnitude(0.1)}, (0.6,)),
        ({"rewind": 0.2}, (0.5,)),
        ({"rewind": 0.2, "threshold": 0.1}, (0.5,)),
        ({"prune_at": [0.2, 0.3]}, (0.2, 0.3)),
        ({"prune_at": 0.4}, up_to(0.4)),
        ({"prune_at": 7}, (1, 2, 3, 4, 5, 6, 7)),
        ({"prune_at": 0.4, "threshold": 0.1}, (0.4,)),
        ({"prune_at": 70, "rewind": 0.2}, (70,)),
        ({"prune_at": once(0.4)}, (0.4,)),
    ],
)
def test_when_cuts_are_due_follows_from_what_is_cut(given: dict[str, Any], prune_at: Any) -> None:
    assert recipe(**given).prune_at == prune_at


def test_short_forms_stand_for_objects() -> None:
    made = recipe(threshold=0.1, targets=["head"])
    assert made.threshold == Magnitude(0.1) and made.targets == [ByName("head")]
    assert made.plan == Once(Magnitude(0.1)) and made.plan is made.plan


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"threshold": Sparsity(0.95), "penalty": L1(), "strength": ByPasses()}),
    ({"threshold": 0.1}, {"threshold": Magnitude(0.1)}),
    ({"prune_at": once(0.5)}, {"prune_at": [0.5]}),
    ({}, {"prune_at": 0.6}),
    ({"targets": ["head"]}, {"targets": [ByName("head")]}),
    ({"targets": {"a": 1.0, "bb": None}}, {"targets": {"bb": None, "a": 1.0}}),
]
OTHER: list[dict[str, Any]] = [
    {"strength": 0.1},
    {"strength": Constant(0.2)},
    {"threshold": 0.1},
    {"penalty": ElasticNet()},
    {"prune_at": 0.5},
    {"targets": ["head"]},
    {"form": Proximal()},
    {"rewind": 0.2},
    {"criterion": Size()},
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_the_same_recipe_is_described_in_the_same_words(one: Any, other: Any) -> None:
    assert recipe(**one).words == recipe(**other).words


@pytest.mark.parametrize("given", OTHER)
def test_another_is_not(given: dict[str, Any]) -> None:
    words, plain = recipe(**given).words, recipe().words
    assert list(words) == list(ORDER)
    assert {name for name in ORDER if words[name] != plain[name]} >= given.keys()


def test_words_are_the_same_in_every_process() -> None:
    """A function is known by its name, and not by where it lies in memory."""

    def schedule(progress: float) -> float:
        return 0.1

    words = recipe(strength=schedule).words["strength"]
    assert "schedule" in words and " at 0x" not in words


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"penalty": L1}, r"penalty must be an object as L1\(\)"),
        ({"form": "proximal"}, r"form must be an object as Proximal\(\)"),
        ({"criterion": Size}, r"criterion must be an object as Saliency\(\)"),
        ({"threshold": True}, "threshold must be"),
        ({"threshold": Sparsity}, "threshold must be"),
        ({"strength": -1.0}, "strength must be"),
        ({"strength": lambda progress: -1.0}, "returns a finite strength ≥ 0"),
        ({"strength": Follow(), "threshold": 0.1}, "steers"),
        ({"prune_at": 1.0}, "prune_at must be"),
        ({"rewind": 1.0}, "rewind must be"),
        ({"targets": "head"}, "targets must be"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        recipe(**given)
    assert "\n" not in str(caught.value)


def test_a_size_that_looks_like_a_share_is_questioned() -> None:
    with pytest.warns(PruningWarning, match=r"for 95 % zeros give Sparsity\(0\.95\)"):
        assert L1Pruning(threshold=0.95).recipe.threshold == Magnitude(0.95)


def test_a_callback_has_the_recipe_of_its_arguments() -> None:
    given: dict[str, Any] = {"threshold": Sparsity(0.5), "rewind": 0.1, "criterion": Size()}
    assert L1Pruning(**given).recipe.words == recipe(**given).words
    assert pickle.loads(pickle.dumps(recipe(**given))).words == recipe(**given).words


def test_a_strength_that_looks_like_a_share_is_asked_about() -> None:
    with pytest.warns(UserWarning, match=r"for 95 % zeros give threshold=Sparsity\(0\.95\)"):
        L1Pruning(0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        L1Pruning(0.95, Sparsity(0.9))
        L1Pruning(0.95, form=Proximal())
        L1Pruning(0.1)
