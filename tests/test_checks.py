"""Arguments: what is a number, what is an object, and what is the same run."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l1prune.checks import check_object, check_same, described, flat, is_number, is_whole

NO_NUMBERS = [True, False, "1", None, [1], 1j, math.nan, math.inf, -math.inf, torch.ones(1), b"1"]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=str)
def test_what_is_no_finite_number_is_none(value: Any) -> None:
    assert not is_number(value) and not is_whole(value, -5)


@pytest.mark.parametrize("value", [1, np.int64(1), np.float32(1), Fraction(1), 1.0], ids=repr)
def test_numbers_of_any_kind_are_numbers(value: Any) -> None:
    assert is_number(value, 1, 1)
    assert is_whole(value, 1) == (type(value) in (int, np.int64))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 10), st.floats(-10, 10))
def test_bounds_are_part_of_the_range(value: float, low: float, high: float) -> None:
    assert is_number(value, low, high) == (low <= value <= high)
    assert is_number(low, low) and is_number(high, -math.inf, high)


class Able:
    def work(self) -> None:
        return


@pytest.mark.parametrize("value", [Able, "able", None, 3, object()])
def test_an_object_is_none_by_its_class_or_name(value: Any) -> None:
    check_object("worker", Able(), ("work",), "Able()")
    with pytest.raises(ValueError, match=r"worker must be an object as Able\(\), got"):
        check_object("worker", value, ("work",), "Able()")


def test_an_argument_is_described_without_its_address() -> None:
    assert described({"f": lambda: 0})["f"].startswith("<function test_an_argument")
    assert described({"f": lambda: 0}) == described({"f": lambda: 0})
    assert described({"a": Able()}) == described({"a": Able()})


ARGUMENTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"))


@given(ARGUMENTS, ARGUMENTS)
def test_a_run_goes_on_if_no_argument_differs_and_each_that_does_is_named(
    now: dict[str, str], then: dict[str, str]
) -> None:
    differing = {name for name in now.keys() & then.keys() if now[name] != then[name]}
    if not differing:
        check_same(now, then)
        return
    with pytest.raises(ValueError, match="give the arguments that it began with") as caught:
        check_same(now, then)
    for name in "abc":
        assert (f"{name}={then.get(name)}" in str(caught.value)) == (name in differing)


@given(st.recursive(st.integers(), lambda leaf: st.dictionaries(st.sampled_from("ab"), leaf)))
def test_every_value_is_found_under_its_dotted_name(config: Any) -> None:
    for name, value in flat({"top": config}).items():
        found: Any = {"top": config}
        for key in name.split("."):
            found = found[key]
        assert found == value and (value == {} or not isinstance(value, dict))
