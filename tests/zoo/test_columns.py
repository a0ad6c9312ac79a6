"""Columns are taken for what they are, and what is no table is refused in a sentence."""

from __future__ import annotations

import pytest
import torch

from l1prune.zoo.columns import (
    category_of,
    number_of,
    useless,
    variable_of,
)


def test_numbers_are_scaled_by_the_training_rows_alone() -> None:
    column = number_of("x", ["1", "3", "100"])
    encoded = column.encoded(torch.tensor([0, 1]))
    assert encoded[:2, 0].tolist() == [-1.0, 1.0]
    assert float(encoded[2, 0]) == 98.0


def test_a_constant_column_stays_finite() -> None:
    assert number_of("x", ["2", "2"]).encoded(torch.tensor([0, 1])).tolist() == [[0.0], [0.0]]


def test_a_missing_category_is_one_of_its_own() -> None:
    column = category_of("colour", ["red", "?", "blue"])
    assert column.inputs == ("colour=blue", "colour=red", "colour is missing")
    assert column.encoded(torch.tensor([0])).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_a_text_among_numbers_is_a_mistake_and_among_texts_a_category() -> None:
    with pytest.raises(ValueError, match=r"'12a' in row 3 is no number.*data\.categories=\[x\]"):
        variable_of("x", [*["1", "2"], "12a", *["3"] * 20])
    with pytest.raises(ValueError, match=r"or give data\.leave_out=\[x\]$"):  # no category
        variable_of("x", [*map(str, range(99)), "12a"])
    assert variable_of("x", ["1", "b", "c"]).inputs == ("x=1", "x=b", "x=c")


def test_what_names_the_rows_is_useless_and_a_code_of_few_kinds_is_not() -> None:
    assert (
        useless("name", [f"person {n}" for n in range(50)])
        == "it has 50 different texts in 50 rows"
    )
    assert useless("empty", ["", "NA"]) == "it is empty"
    assert useless("code", ["a", "b"] * 25) is None
    mixed = [f"{n}" if n % 3 else f"about {n}" for n in range(90)]
    assert useless("size", mixed) == "it has 90 different texts in 90 rows"
    assert useless("measure", [str(n / 7) for n in range(50)]) is None


@pytest.mark.parametrize("cells", [["2024-03-01", "", "2024-03-02"], ["1.3.2024 08:00"] * 3])
def test_dates_are_useless_for_they_come_once(cells: list[str]) -> None:
    assert "it holds dates, as " in str(useless("day", cells))
    assert useless("version", [f"v{one}" for one in cells]) is None


def test_what_does_not_vary_beyond_rounding_in_training_is_zero_everywhere() -> None:
    found = number_of("a", ["0.1"] * 3 + ["0.2"]).encoded(torch.tensor([0, 1, 2]))
    assert not found.any()
    far = number_of("a", ["1e300", "-1e300"]).encoded(torch.tensor([0, 1]))
    assert far[:, 0].tolist() == [1.0, -1.0]
