"""Files of CSV are read as they are meant, and what is no table is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1prune.zoo.csv_files import plain, read_csv


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


@pytest.mark.parametrize(
    ("cells", "between_commas", "expected"),
    [
        (["6.862,87", "682,13", "12"], False, ["6862.87", "682.13", "12"]),
        (["1.234.567", "2,5"], False, ["1234567", "2.5"]),
        (["1.234", "2.5"], False, ["1.234", "2.5"]),  # points of numbers
        (["1,234", "2,500"], False, ["1.234", "2.500"]),
        (["1,234", "2,500"], True, ["1234", "2500"]),
        (["1,234,567", "12"], False, ["1234567", "12"]),
        (["1,234.56", "-1,000", "NA"], True, ["1234.56", "-1000", "NA"]),
        (["1,5", "-2,25", ""], True, ["1.5", "-2.25", ""]),
        (["1,5", "1,234.5"], True, ["1,5", "1,234.5"]),  # both ways: a mistake, or no numbers
        (["1,2", "a", "b", "c"], True, ["1,2", "a", "b", "c"]),  # texts
    ],
)
def test_numbers_are_read_as_their_column_writes_them(
    cells: list[str], between_commas: bool, expected: list[str]
) -> None:
    assert plain(cells, between_commas) == expected


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
