"""A recipe has its look wherever it appears, and no two in one company have the same."""

from __future__ import annotations

import random

import pytest

from l1prune.runs.looks import COLOURS, KNOWN, looks


def test_every_recipe_has_a_look_of_its_own_and_the_dense_network_always_the_same() -> None:
    found = looks([*(f"recipe {i}" for i in range(34)), *KNOWN, "dense"])
    assert [*found][-1] == "dense" and found["dense"].marker == "*"
    assert len({(look.colour, look.marker) for look in found.values()}) == 43
    assert {look.colour for look in found.values()} == {*COLOURS, None}


def test_there_may_be_more_recipes_than_looks() -> None:
    assert len(looks(map(str, range(100)))) == 100


@pytest.mark.parametrize("recipe", [*KNOWN, "mine", "another", "\udcff"])
def test_a_look_does_not_depend_on_the_company(recipe: str) -> None:
    others = random.Random(0).sample([*KNOWN, "dense", "pruned"], 5)
    assert looks([recipe, *others])[recipe] == looks([recipe])[recipe]
