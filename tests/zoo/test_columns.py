"""Columns are taken for what they are, and what is no table is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l1prune.zoo.columns import (
    category_of,
    number_of,
    read_csv,
    useless,
    variable_of,
)


def written(folder: Path, text: str) -> Path:
    file = folder / "table.csv"
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.mark.parametrize(
    "text",
    [
        "a,b\r\n1.5,x y\r\n\r\n2,z\r\n",
        "\ufeffa;b\n1,5;x y\n2;z\n",
        'a\tb\n"1.5"\t"x y"\n2\tz\n',
    ],
)
def test_cells_are_found_whatever_stands_between_them(tmp_path: Path, text: str) -> None:
    assert read_csv(written(tmp_path, text)) == {"a": ["1.5", "2"], "b": ["x y", "z"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows below the names"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells, where the first line names 2 columns"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("1,2\n3,4\n", "its first line must name the columns"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(written(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_csv(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="cannot be read as text in UTF-8"):
        read_csv(tmp_path / "binary.csv")


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
    assert variable_of("x", ["1", "b", "c"]).inputs == ("x=1", "x=b", "x=c")


def test_what_names_the_rows_is_useless_and_a_code_of_few_kinds_is_not() -> None:
    assert (
        useless("name", [f"person {n}" for n in range(50)])
        == "it has 50 different texts in 50 rows"
    )
    assert useless("empty", ["", "NA"]) == "it is empty"
    assert useless("code", ["a", "b"] * 25) is None
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


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("\na;b\n1;2\n", ["a", "b"]),
        ('"x, y, z";b\n1;2\n', ["x, y, z", "b"]),
        ("a,b\nx\u2028y,1\n", ["a", "b"]),
    ],
)
def test_lines_and_cells_are_those_of_the_table(
    text: str, names: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    assert [*read_csv(file)] == names


def test_a_quote_that_is_not_closed_is_said(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text('a,b\n1,"2\n3,4\n', encoding="utf-8")
    with pytest.raises(ValueError, match="unexpected end of data"):
        read_csv(file)
