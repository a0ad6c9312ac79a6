"""From a table to an answer: the names of what matters, or a sentence on what is wrong."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from l1prune.commands import features
from l1prune.weights.warning import warn

pytest.importorskip("sklearn", reason="needs the extra 'features'")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two columns decide by their product, and a category adds to it; ten say nothing."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 12))
    colour = random.integers(3, size=400)
    y = x[:, 2] * x[:, 5] + 1.5 * (colour == 1) - 0.5 > 0
    names = [f"x{number}" for number in range(12)]
    file = tmp_path_factory.mktemp("table") / "table.csv"
    with open(file, "w", newline="", encoding="utf-8") as opened:
        lines = csv.writer(opened)
        lines.writerow([*names, "colour", "y"])
        for row, kind, label in zip(x, colour, y, strict=True):
            words = [*(f"{value:.4f}" for value in row), ["red", "green", "blue"][kind]]
            lines.writerow([*words, "yes" if label else "no"])
    return file


@pytest.fixture(scope="module")
def answered(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("answer") / "folder" / "ranking.csv"
    assert features.main([str(table), "--target", "y", "--k", "3", "--output", str(output)]) == 0
    return output


def test_the_columns_that_matter_are_named_a_category_by_its_own_name(answered: Path) -> None:
    with open(answered, newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert {row["column"] for row in rows if row["selected"] == "1"} == {"x2", "x5", "colour"}
    assert [int(row["rank"]) for row in rows] == list(range(1, 14))
    sizes = [float(row["size"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True) and sizes[3] == 0


def test_too_few_rows_are_refused_with_how_many_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rows in (features.LEAST - 1, features.LEAST):
        file = tmp_path / "few.csv"
        text = "".join(f"{row * 3 % 7},{'ab'[row % 2]}\n" for row in range(rows))
        file.write_text(f"x,y\n{text}", encoding="utf-8")
        code = features.main([str(file), "--target", "y", "--k", "1"])
        assert code == (0 if rows == features.LEAST else 2)
    assert ": 7 rows are too few to learn from: give at least 8\n" in capsys.readouterr().err


def test_what_is_printed_names_them_and_says_how_good_they_are() -> None:
    found = [
        features.Verdict(1, "income", True, 0.5),
        features.Verdict(2, "age", False, 0.0),
    ]

    class Data:
        target, classes = "y", 2

    text = features.answer(found, {"chosen": 0.9, "all": 0.8, "none": 0.6, "sure": 1.0}, Data())  # type: ignore[arg-type]
    assert text.startswith("1 of 2 columns matter to y:")
    assert "income  0.500" in text and "The others, the best first: age." in text
    assert "90.0 % right with these columns, 80.0 % with all; 60.0 % by always" in text
    assert "perhaps none matters" not in text
    text = features.answer(found, {"chosen": 0.5, "all": 0.8, "none": 0.6, "sure": 1.0}, Data())  # type: ignore[arg-type]
    assert text.endswith("no better than knowing none of them: perhaps none matters.")
    assert text.startswith("1 of 2 columns may matter to y:")
    unsure = {"chosen": 0.9, "all": 0.8, "none": 0.6, "sure": 0.0}
    text = features.answer(found, unsure, Data())  # type: ignore[arg-type]
    assert text.startswith("1 of 2 columns may matter to y:") and "none matters" not in text


def test_all_notes_are_in_the_options_of_this_command_each_of_them_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with features.telling():
        for _ in range(2):
            warn("a.csv: left out: t; data.categories=[t] would keep it")
        warn("n_features_to_select='auto': no better than none")
        warnings.warn("y could represent a regression", UserWarning, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "a.csv: left out: t; --categories t would keep it",
        "--k auto: no better than none",
    ]


def test_where_no_column_can_tell_the_note_and_the_answer_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    cells = [",".join(f"{one:.3f}" for one in row) for row in random.normal(size=(60, 4))]
    file = tmp_path / "noise.csv"  # each row with either label: what is learned of one is wrong
    rows = "".join(f"{row},no\n{row},yes\n" for row in cells)
    file.write_text(f"a,b,c,d,y\n{rows}", encoding="utf-8")
    assert features.main([str(file), "--target", "y"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("--k auto: held-back rows are predicted no better")
    assert told.out.startswith("1 of 4 columns may matter to y:")
    assert "  0.000" not in told.out


def test_one_that_is_stopped_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "few.csv"
    file.write_text("x,y\n" + "1,a\n2,b\n" * 8, encoding="utf-8")
    monkeypatch.setattr(features, "select", interrupted)
    assert features.main([str(file), "--target", "y"]) == 130
    assert capsys.readouterr().err.endswith("stopped; nothing was written\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "z"], "--target: .* no column 'z'; it has x0, x1"),
        (["--target", "colour", "--regression"], "'red' in row .* is no number"),
        (["--target", "y", "--k", "99"], "--k 99: there are 13 features"),
        (["--target", "y", "--leave-out", "w"], "--leave-out: .* no column 'w'"),
        (["--target", "y", "--leave-out", "x0", "y"], "--leave-out y: it is the target"),
        (["--target", "y", "--categories", "y"], "--categories y: it is .* labels give --labels"),
        (["--target", "y", "--seed", "-1"], r"--seed -1: give a whole number in \[0, 2"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    table: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert features.main([str(table), *arguments]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert re.search(message, told.err.replace("\n", " "))


def test_a_number_of_columns_is_whole_a_share_or_left_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [features.read(["a.csv", "--target", "y", "--k", k]).k for k in ("20", "0.1", "auto")]
    assert given == [20, 0.1, "auto"]
    for wrong in ("many", "0", "-1", "-0.5", "1.5", "0.0", "nan", "5.0"):
        with pytest.raises(SystemExit):
            features.read(["a.csv", "--target", "y", "--k", wrong])
        right = "give a whole number from 1, a share in (0, 1] as 0.1, or auto"
        assert f"argument --k: {right}, not {wrong}\n" in capsys.readouterr().err


def test_a_file_that_a_list_has_taken_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        features.main(["--target", "y", "--categories", "zip", str(tmp_path / "a.csv")])
    assert "give it first, since a list, as --categories, takes" in capsys.readouterr().err
