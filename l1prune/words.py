"""Words: lists, counts and what is too long in the sentences and tables of reports and errors."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many more there are.

    >>> some_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def beginning(text: str, most: int) -> str:
    """The beginning of a text, where all of it would be longer than so many characters.

    >>> beginning("it is read by the next layer", 12)
    'it is read…'
    """
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def both_ends(text: str, most: int) -> str:
    """The beginning and the end of a text, where all of it would be longer than that.

    >>> both_ends("a_very_long_name_of_run_17", 12)
    'a_ver…run_17'
    """
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def quantity(count: int, noun: str) -> str:
    """So many of something whose plural ends in s.

    >>> quantity(1, "row"), quantity(2_000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}" + "s" * (count != 1)
