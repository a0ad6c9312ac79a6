"""A recipe has its look wherever it appears, and no two in one company have the same."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from l1prune.runs.looks import BASIC, COLOURS, COMMON, KNOWN, MARKERS, looks


def test_every_recipe_has_a_look_of_its_own_and_the_dense_network_always_the_same() -> None:
    """As long as the colour that its name draws has a marker left."""
    mine = [f"recipe {i}" for i in range(34)]
    found = looks([*mine, *KNOWN, "dense"])
    assert [*found][-1] == "dense" and found["dense"].marker == "*"
    assert {look.colour for look in found.values()} == {*COLOURS, None}
    distinct = {(look.colour, look.marker) for look in found.values()}
    drawn = Counter(found[name].colour for name in mine)
    most = {colour: len(MARKERS) - (colour in COLOURS[COMMON:BASIC]) for colour in drawn}
    assert len(distinct) == 1 + len(KNOWN) + sum(min(n, most[c]) for c, n in drawn.items())
    few = looks([*"abcdefgh", *KNOWN, "dense"])
    assert len({(look.colour, look.marker) for look in few.values()}) == 17


def test_recipes_of_ones_own_are_of_many_colours_and_none_is_that_of_the_common_ones() -> None:
    colours = {looks([name])[name].colour for name in "abcdefgh"}
    assert len(colours) >= 4 and not colours & {*COLOURS[:COMMON]}
    assert {looks([f"{n}"])[f"{n}"].colour for n in range(99)} == {*COLOURS[COMMON:]}


def test_a_colour_does_not_depend_on_any_company() -> None:
    """Of two that draw the same look one takes another marker."""
    names = [f"recipe {i}" for i in range(60)]
    together = looks(names)
    assert all(looks([name])[name].colour == together[name].colour for name in names)


def test_there_may_be_more_recipes_than_looks() -> None:
    assert len(looks(map(str, range(100)))) == 100


@pytest.mark.parametrize("recipe", [*KNOWN, "mine", "another", "\udcff"])
def test_a_look_does_not_depend_on_the_company(recipe: str) -> None:
    others = random.Random(0).sample([*KNOWN, "dense", "pruned"], 5)
    assert looks([recipe, *others])[recipe] == looks([recipe])[recipe]
