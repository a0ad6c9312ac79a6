"""Targets: a label or a number, and what is neither is refused with what to do."""

from __future__ import annotations

import pytest

from l1prune.zoo.targets import target_of


@pytest.mark.parametrize(
    ("cells", "regression", "message"),
    [
        (["a", "", "b"], None, "missing in 1 of 3 rows, first in row 2"),
        (["a", "a"], None, "all rows say 'a'"),
        (["1", "b"], True, r"'b' in row 2 is no number, as data\.regression=true asks"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(
    cells: list[str], regression: bool | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        target_of("y", cells, regression)


def test_whole_numbers_of_few_kinds_are_labels_unless_it_is_said() -> None:
    cells = ["3", "10", "3"]
    assert target_of("y", cells).inputs == ("y=3", "y=10")
    assert target_of("y", cells, regression=True).inputs == ("y",)


@pytest.mark.parametrize(
    "day", ["2024-03-{:02}", "2024-03-{:02}T10:00", "{:02}.03.2024", "{}/3/2024"]
)
@pytest.mark.parametrize("regression", [None, True])
def test_dates_are_no_numbers_and_labels_only_where_it_is_said(
    day: str, regression: bool | None
) -> None:
    cells = [day.format(row % 5 + 1) for row in range(40)]
    with pytest.raises(ValueError, match=r"target=y: it holds dates, as .*data\.regression=false"):
        target_of("y", cells, regression)
    assert len(target_of("y", cells, regression=False).inputs) == 5


@pytest.mark.parametrize("regression", [None, False])
def test_a_label_for_each_row_cannot_be_learned(regression: bool | None) -> None:
    with pytest.raises(ValueError, match="it has 40 different labels in 40 rows, too few of each"):
        target_of("y", [f"t{row}" for row in range(40)], regression)


def test_a_mistake_among_numbers_is_told_by_what_a_target_can_be() -> None:
    with pytest.raises(ValueError, match=r"'x' in row 40 .* or give data\.regression=false, where"):
        target_of("y", [*map(str, range(39)), "x"])
