"""What others have named, made fit for where it is shown: a screen, a table, a sheet, a picture.

A name may hold what moves the cursor, ends a cell, begins a formula or is no Unicode at all. The
page of runs needs none of this: what it shows is JSON first, and text in the end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, TextIO

from l1prune.checks import is_numeral
from l1prune.words import both_ends

NAME = 250
"""The most characters of a name; that of a directory has hardly more."""
LINE = 1_000
"""The most characters of a line that says what is wrong, with paths and names in it."""
CELL = 32_000
"""The most characters of a cell of a spreadsheet, about what those have room for."""
LABEL = 40
"""The most characters that a picture has room for beside its axes."""


def printable(value: Any, most: int = NAME) -> str:
    r"""Text on one line that any terminal shows as it is; whatever acts or is invisible is spelt.

    Args:
        value: to be shown.
        most: characters; of more the middle goes, since names begin and differ at their ends.

    >>> print(printable("red: \x1b[31m, not Unicode: \udcff, two\nlines"))
    red: \x1b[31m, not Unicode: \udcff, two\nlines
    """
    text = both_ends(str(value), most)
    return text if text.isprintable() else "".join(map(_spelt, text))


def markdown(value: Any) -> str:
    r"""Text in one cell of a Markdown table, in which nothing is markup.

    >>> print(markdown("a|b <img src=x> [c](d)"))
    a\|b &lt;img src=x&gt; \[c\](d)
    """
    text = printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\|`*\[\]]", r"\\\g<0>", text)


def cell(value: Any) -> Any:
    """A value in one cell of a CSV table: numbers as they are, and no text that is a formula.

    A spreadsheet runs what begins with one of ``= + - @``, also in the wide forms of Japanese
    keyboards; an apostrophe before it makes it text. What is a number all the same, as "-1", is
    left alone.

    >>> cell(-0.5), cell("l1"), cell("=1+1"), cell("-1")
    (-0.5, 'l1', "'=1+1", '-1')
    """
    if isinstance(value, (int, float)):
        return value
    text = printable(value, CELL)
    return f"'{text}" if text.lstrip()[:1] in _FORMULA and not is_numeral(text) else text


def label(value: Any) -> str:
    r"""Text in a picture by matplotlib, which takes dollars for mathematics and hides some names.

    >>> print(label("$x$"))
    \$x\$
    """
    text = printable(value, LABEL).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def show(text: str, stream: TextIO | None = None) -> None:
    """Print lines, spelling what the stream has no characters for.

    Args:
        text: of which each part that somebody else has named is `printable`.
        stream: by default stdout.
    """
    stream = sys.stdout if stream is None else stream
    encoding = stream.encoding or "utf-8"
    stream.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


def complain(of: object) -> None:
    """Say in one line on stderr what is wrong, after the name by which the program was called."""
    show(f"{Path(sys.argv[0]).name}: {printable(of, LINE)}", sys.stderr)


def _spelt(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


# Empty text begins with nothing, and nothing is in no tuple.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
