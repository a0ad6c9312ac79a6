"""Words: nothing is left out without being counted, and one is no plural."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from l1prune.words import counted, some_of


@given(st.integers(0, 20), st.integers(1, 20))
def test_each_name_is_shown_or_counted(many: int, most: int) -> None:
    names = [f"n{number}" for number in range(many)]
    shown, _, more = some_of(names, most).partition(" and ")
    left = int(more.removesuffix(" more") or 0)
    assert [name for name in shown.split(", ") if name] == names[: many - left]
    assert left == max(0, many - most)


def test_one_alone_is_no_plural() -> None:
    assert [counted(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
