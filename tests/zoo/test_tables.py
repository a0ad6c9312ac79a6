"""Tables: each row is learned from, chosen by or tested on, and columns keep their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l1prune.zoo import BreastCancer, CsvTable, Isolet
from l1prune.zoo.splits import LEAST

ROOT = Path(__file__).parents[2]
ROWS = 60


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = ["age,colour,size,y"]
    for row in range(ROWS):
        age = "" if row == 3 else str(20 + row * 7 % 50)
        lines.append(
            f"{age},{'red' if row % 3 else 'blue'},{row / 7:.3f},{'yes' if row % 4 else 'no'}"
        )
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_one_hot_columns_of_a_variable_are_one_feature(file: Path) -> None:
    data = CsvTable(str(file), "y")
    assert data.features == {"age": (0, 1), "colour": (2, 3), "size": (4,)}
    assert data.table.inputs == ("age", "age is missing", "colour=blue", "colour=red", "size")
    assert (data.inputs, data.classes) == (5, 2)


def test_every_row_has_one_place_and_the_test_does_not_depend_on_the_seed(file: Path) -> None:
    data, other = CsvTable(str(file), "y"), CsvTable(str(file), "y", seed=1)
    data.setup("fit")
    other.setup("fit")
    assert data.train and data.val and data.test and other.val and other.test
    assert len(data.train) + len(data.val) + len(data.test) == ROWS
    assert (len(data.test), len(data.val)) == (12, 6)
    assert torch.equal(data.test.labels, other.test.labels)
    assert not torch.equal(data.val.inputs[:, 4], other.val.inputs[:, 4])
    assert torch.allclose(data.train.inputs[:, 4].mean(), torch.zeros(()), atol=1e-6)


def test_a_target_of_measures_is_a_regression_in_units_of_its_deviation(file: Path) -> None:
    data = CsvTable(str(file), "size")
    data.setup("fit")
    assert data.classes is None and data.train
    assert torch.allclose(data.train.labels.square().mean(), torch.ones(()), atol=1e-5)


def test_names_that_the_file_does_not_have_are_refused_with_those_that_it_has(file: Path) -> None:
    with pytest.raises(
        ValueError, match=r"data\.target: .* no column 'z'; it has age, colour, size"
    ):
        CsvTable(str(file), "z")
    with pytest.raises(ValueError, match=r"data\.leave_out: .* no column 'w'"):
        CsvTable(str(file), "y", leave_out=["w"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("leave_out", r"data\.leave_out=\[y\]: it is the target.*name another target"),
        ("categories", r"data\.categories=\[y\]: it is the target.*data\.regression=false"),
    ],
)
def test_the_target_is_no_column_to_learn_from(file: Path, option: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CsvTable(str(file), "y", **{option: ["colour", "y"]})  # type: ignore[arg-type]


def test_a_column_is_not_both_a_category_and_left_out(file: Path) -> None:
    with pytest.raises(ValueError, match=r"categories and data\.leave_out both name 'colour'"):
        CsvTable(str(file), "y", categories=["colour"], leave_out=["size", "colour"])


def test_what_is_left_out_is_told_and_what_was_asked_to_be_is_not(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,x,y\n1,5,a\n2,4,b\n3,5,a\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="left out: id \\(it counts the rows\\)"):
        assert [*CsvTable(str(path), "y").features] == ["x"]
    assert [*CsvTable(str(path), "y", leave_out=["id"]).features] == ["x"]
    with pytest.raises(ValueError, match="no column is left"):
        _ = CsvTable(str(path), "y", leave_out=["id", "x"]).table


def test_an_empty_column_is_not_offered_to_be_kept_and_names_with_spaces_are_in_quotes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("row no,none,x,y\n1,,5,a\n2,,4,b\n3,,5,a\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"\"data\.categories=\[row no\]\" would keep it$"):
        _ = CsvTable(str(path), "y").table


def test_what_is_named_as_a_category_is_kept_whatever_it_counts(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,x,y\n1,5,a\n2,4,b\n3,5,a\n", encoding="utf-8")
    assert CsvTable(str(path), "y", categories=["id"]).features == {"id": (0, 1, 2), "x": (3,)}
    with pytest.warns(UserWarning, match=r"data\.categories=\[id\] would keep it"):
        _ = CsvTable(str(path), "y").table


def test_rows_too_few_to_hold_some_out_are_refused_with_how_many_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for rows in (LEAST - 1, LEAST):
        lines = [f"{(7 * row) % 5},{'ab'[row % 2]}\n" for row in range(rows)]
        path.write_text("x,y\n" + "".join(lines), encoding="utf-8")
        data = CsvTable(str(path), "y")
        if rows == LEAST:
            data.setup("fit")
            assert data.train and data.val and data.test
            assert [len(part) for part in (data.train, data.val, data.test)] == [4, 1, 1]
        else:
            with pytest.raises(ValueError, match=r"5 rows are too few.* at least 6"):
                data.setup("fit")


def test_breast_cancer_has_its_names() -> None:
    data = BreastCancer()
    assert (data.inputs, data.classes) == (30, 2)
    assert next(iter(data.features)) == "mean radius"


def test_isolet_is_refused_where_it_is_not_and_read_where_it_is() -> None:
    with pytest.raises(ValueError, match=r"no Isolet\.mat.*data\.path=FOLDER"):
        Isolet()
    folder = ROOT.parent / "shared" / "data" / "isolet"
    if not folder.is_dir():
        pytest.skip("needs Isolet.mat in ../shared/data/isolet")
    data = Isolet(str(folder))
    data.setup("fit")
    assert (data.inputs, data.classes) == (617, 26)
    assert data.train and data.val and data.test
    assert (len(data.train), len(data.val), len(data.test)) == (1092, 156, 312)
    assert data.test.labels.bincount().tolist() == [12] * 26
