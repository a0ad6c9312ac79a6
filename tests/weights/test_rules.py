"""Rules choose weights by name, expression or type, leave others out, and say why they cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from l1prune.weights.rules import ByName, ByRegex, ByType, Except, Rule, as_rule, as_rules
from l1prune.weights.targets import Targets, find_targets


def model() -> nn.ModuleDict:
    """Two blocks, one of them called with brackets, a head, and what is no weight by default."""
    net = nn.ModuleDict(
        {
            "block[0]": nn.Linear(4, 4),
            "block1": nn.Linear(4, 4),
            "norm": nn.LayerNorm(4),
            "conv": nn.Conv1d(4, 4, 1),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
            "head": nn.Linear(4, 2),
        }
    )
    net["head"].register_parameter("gains[0]", nn.Parameter(torch.ones(2, 2)))
    return net


def chosen(rules: Any) -> dict[str, float]:
    return {target.name: target.factor for target in find_targets(model(), rules)}


ALL = {"block[0].weight": 1.0, "block1.weight": 1.0, "conv.weight": 1.0, "head.weight": 1.0}


def without(*names: str) -> dict[str, float]:
    return {name: factor for name, factor in ALL.items() if name not in names}


# ---- leaving out


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (Except("head"), ["head.weight"]),
        ([Except("head.*")], ["head.weight"]),
        ([Except("head"), Except("conv")], ["head.weight", "conv.weight"]),
        ([Except(nn.Conv1d)], ["conv.weight"]),
        (Except(ByRegex("^block")), ["block[0].weight", "block1.weight"]),
        ({"head": None}, ["head.weight"]),
        ({"head": None, "conv": None}, ["head.weight", "conv.weight"]),
        ([nn.Linear, Except("head")], ["head.weight", "conv.weight"]),
        (["*", Except("block1")], ["block1.weight"]),
    ],
    ids=str,
)
def test_what_is_left_out_is_all_that_is_missing(rules: Any, left: list[str]) -> None:
    assert chosen(rules) == without(*left)


@pytest.mark.parametrize("rules", [["*", Except("head")], [Except("head"), "*"]], ids=str)
def test_what_is_left_out_stays_out_whatever_else_accepts_it(rules: list[Any]) -> None:
    assert chosen(rules) == chosen(["head", *rules]) == without("head.weight")


def test_the_rule_that_left_a_weight_out_is_its_reason() -> None:
    found = find_targets(model(), {"*": 1.0, "head": None})
    assert found.skipped["head.weight"] == "left out by Except('head')"


def test_leaving_everything_out_is_refused_with_the_reasons() -> None:
    with pytest.raises(ValueError, match=r"no weight to prune:(.|\n)*head\.weight: left out by"):
        find_targets(model(), Except("*"))


def test_leaving_out_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Except\('haed'.*fits no weight; did you mean head"):
        find_targets(model(), [Except("haed")])


# ---- mappings

ITEMS = {"*": 1.0, "block*": 2.0, "block[0].weight": 3.0, "head.*": None, "conv": 0.0}


@given(st.permutations(list(ITEMS.items())))
def test_the_order_of_a_mapping_does_not_matter(items: list[tuple[str, float | None]]) -> None:
    assert as_rules(dict(items)) == as_rules(ITEMS)
    assert chosen(dict(items)) == {
        "block[0].weight": 3.0,
        "block1.weight": 2.0,
        "conv.weight": 0.0,
    }


@pytest.mark.parametrize("narrow", ["block[0].weight", "block?.weight", "block[01].weight"])
def test_of_patterns_as_long_what_fits_one_character_decides_before_what_fits_any_number(
    narrow: str,
) -> None:
    assert as_rules({"block*.weight": 1.0, narrow: 2.0})[0] == ByName(narrow, 2.0)


# ---- names


@pytest.mark.parametrize(
    "name", ["block[0].weight", "block[0].bias", "head.gains[0]", "norm.weight", "conv.bias"]
)
def test_a_full_name_is_meant_literally_and_chooses_what_is_no_weight_by_default(name: str) -> None:
    assert chosen([name]) == {name: 1.0}
    assert chosen({name: 2.0}) == {name: 2.0}


def test_the_name_of_a_module_with_brackets_is_meant_literally_too() -> None:
    assert chosen(["block[0]"]) == {"block[0].weight": 1.0}


def test_a_class_of_characters_still_is_one() -> None:
    assert chosen(["block[0-9]"]) == {"block1.weight": 1.0}


def test_a_pattern_crosses_dots_and_is_no_part_of_a_longer_name() -> None:
    assert ByName("a.*").matches("a.b.c.weight", nn.Linear(1, 1))
    assert not ByName("a").matches("ab.weight", nn.Linear(1, 1))
    assert not ByName("weight").matches("a.weight", nn.Linear(1, 1))


# ---- refusals


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("frozen", r"frozen\.weight: frozen; frozen\.bias: frozen"),
        ("frozen.weight", r"frozen\.weight: frozen"),
        ("head.b*", r"head\.bias: bias or scale"),
        ("norm", r"norm\.weight: normalisation; norm\.bias: normalisation"),
        (nn.LayerNorm, r"norm\.weight: normalisation"),
        ("*gains*", r"head\.gains\[0\]: not called a weight: name it in full to prune it"),
        (ByRegex("bias$"), r"block\[0\]\.bias: bias or scale; .*, …"),
        ("haed.weight", r"did you mean head\.weight"),
        ("xyzzy", r"fits no weight; The weights are: block\[0\]\.weight, block1"),
    ],
    ids=str,
)
def test_a_rule_that_fits_nothing_is_refused_with_the_true_reason(rule: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        find_targets(model(), [rule])
    with pytest.raises(ValueError, match=reason):
        find_targets(model(), ["*", rule])


@pytest.mark.parametrize(
    "rules", [[], {}, "head", b"head", 3, [3], [None], [Except], [int], nn.Linear], ids=str
)
def test_what_is_no_rule_is_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match=r"targets|module must be a class"):
        as_rules(rules)


@pytest.mark.parametrize("rule", [3, None, Except("head").factor, ["head"]], ids=str)
def test_nothing_but_a_rule_can_be_left_out(rule: Any) -> None:
    with pytest.raises(ValueError, match="is no pattern, module class"):
        Except(rule)


# ---- a rule of the user's own


@dataclass(frozen=True)
class Wide:
    """Weights of layers with more outputs than so many."""

    outputs: int
    factor: float | None = 1.0

    def matches(self, name: str, module: nn.Module) -> bool:
        return getattr(module, "out_features", 0) > self.outputs


def test_a_rule_of_the_users_own_is_a_rule_wherever_one_may_stand() -> None:
    wide = {"block[0].weight": 1.0, "block1.weight": 1.0}
    assert isinstance(Wide(3), Rule) and as_rule(Wide(3)) == Wide(3)
    assert chosen(Wide(3)) == chosen([Wide(3)]) == wide
    assert chosen([Wide(3, 2.0), "*"]) == {**ALL, **dict.fromkeys(wide, 2.0)}
    assert chosen(Except(Wide(3))) == chosen(Wide(3, None)) == without(*wide)
    with pytest.raises(ValueError, match=r"Wide\(outputs=9, factor=1\.0\) fits no weight"):
        chosen(Wide(9))


def test_every_weight_is_chosen_or_skipped_whatever_the_rules() -> None:
    every = {name for name, _ in model().named_parameters()}
    for rules in (["head"], Except("head"), {"*": 1.0, "conv": None}, [ByType(nn.Conv1d)]):
        found: Targets = find_targets(model(), rules)
        assert {target.name for target in found} | set(found.skipped) == every
        assert not {target.name for target in found} & set(found.skipped)


def test_several_patterns_in_one_rule_are_refused_with_what_would_be_right() -> None:
    with pytest.raises(ValueError, match="a list of rules, each of one pattern"):
        Except(["a", "b"])  # type: ignore[arg-type]
