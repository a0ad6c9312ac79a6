"""Words: nothing is left out without being counted, and one is no plural."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from l1prune.words import beginning, both_ends, quantity, some_of


@given(st.integers(0, 20), st.integers(1, 20))
def test_each_name_is_shown_or_counted(many: int, most: int) -> None:
    names = [f"n{number}" for number in range(many)]
    shown, _, more = some_of(names, most).partition(" and ")
    left = int(more.removesuffix(" more") or 0)
    assert [name for name in shown.split(", ") if name] == names[: many - left]
    assert left == max(0, many - most)


@given(st.text("abc ", max_size=30), st.integers(2, 20))
def test_what_is_too_long_is_shown_in_part_and_says_so(text: str, most: int) -> None:
    for shown in (beginning(text, most), both_ends(text, most)):
        assert len(shown) <= most
        start, cut, end = shown.partition("…")
        assert text.startswith(start) and text.endswith(end)
        assert bool(cut) == (len(text) > most)


def test_one_alone_is_no_plural() -> None:
    assert [quantity(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
