"""Words: lists and counts in the sentences of reports and errors."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many more there are.

    >>> some_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(count: int, noun: str) -> str:
    """So many of something whose plural ends in s.

    >>> counted(1, "row"), counted(2_000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}" + "s" * (count != 1)
