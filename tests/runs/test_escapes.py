"""What somebody has named stays what it is called, and is nothing else, wherever it is shown."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from l1prune.runs.escapes import CELL, NAME, cell, label, markdown, printable, show

# Every character, lone surrogates too: what Python makes of a file name that is no UTF-8.
anything = st.text(st.characters(exclude_categories=()))
EVIL = ("\x1b[31m", "a\nb", "\r", "\u202e", "\udcff", "\0", "|", "\\|", "<b>", "=1+1", "$x$", "_x")


@given(text=anything)
@example(text="".join(EVIL))
def test_a_line_is_one_line_that_any_terminal_shows(text: str) -> None:
    shown = printable(text, 40)
    assert shown.isprintable() and shown.encode() is not None
    assert printable(shown, 400) == shown


@given(text=anything)
@pytest.mark.parametrize("evil", EVIL)
def test_a_markdown_cell_is_one_cell_without_markup(evil: str, text: str) -> None:
    shown = markdown(text + evil)
    unescaped = re.sub(r"\\[\\|`*\[\]]", "", shown)
    assert not set("|<>`*[]\\") & set(re.sub(r"\\[xuUnrt]", "", unescaped))
    assert len(f"| {shown} | 1 |".splitlines()) == 1


@given(text=anything)
@pytest.mark.parametrize("evil", [*EVIL, "+1+cmd", "-1+1", "@SUM(1)", "\t=1", " =1", "＝1", "\r=1"])
def test_a_csv_cell_is_read_back_and_is_no_formula(evil: str, text: str) -> None:
    for value in (evil + text, evil, text):
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerow([cell(value), "next"])
        ((read, after),) = csv.reader(io.StringIO(written.getvalue()))
        assert after == "next" and read.encode() is not None
        if read.lstrip()[:1] in tuple("=+-@＝＋－＠"):
            float(read)
    assert len(cell("x" * 10 * CELL)) == CELL


@pytest.mark.parametrize("number", [0, -5, 0.1, -1e-9, 2**62, True, "-1", "+1e5", "-inf"])
def test_a_number_stays_as_it_is(number: object) -> None:
    assert cell(number) == number


@given(text=anything)
@pytest.mark.parametrize("evil", ["$\\frac{x}$", "$", "\\$x$", "_x", ""])
@pytest.mark.filterwarnings("ignore:Glyph|Matplotlib currently:UserWarning")
def test_a_label_can_be_drawn_and_is_not_left_out(evil: str, text: str) -> None:
    figure = Figure(figsize=(1, 1))
    axes = figure.subplots()
    axes.plot([1], label=label(evil + text) or "-")
    (shown,) = figure.legend().get_texts()
    assert shown._preprocess_math(shown.get_text())[1] is False  # type: ignore[attr-defined]


def test_a_long_name_is_cut_and_a_short_one_is_not() -> None:
    assert printable("n" * NAME) == "n" * NAME
    cut = printable("a" * 10**7 + "b")
    assert len(cut) == NAME and cut.startswith("aaa") and cut.endswith("ab"), "where names differ"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_screen_gets_what_it_has_characters_for(encoding: str) -> None:
    screen = io.TextIOWrapper(raw := io.BytesIO(), encoding=encoding, newline="\n")
    show("20× λ", screen)
    screen.flush()
    spelt = {"ascii": r"20\xd7 \u03bb", "latin-1": r"20× \u03bb", "utf-8": "20× λ"}
    assert raw.getvalue().decode(encoding) == f"{spelt[encoding]}\n"
