"""FeaturePath notes what a run leaves of the inputs, writes it, and goes on where it stopped."""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tasks import Save, Task, examples, fit, layers, trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from l1prune import FeaturePath, PruningWarning, keep_features

NAMES = [f"column {number}" for number in range(8)]


class Table(L.LightningDataModule):
    """Eight columns that are five variables."""

    features = {"a": (0,), "b": (1, 2, 3, 4), "c": (5,), "d": (6,), "e": (7,)}  # noqa: RUF012

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(examples(), 10)

    val_dataloader = train_dataloader


def read(folder: Path) -> list[dict[str, str]]:
    with open(folder / "features.csv", newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def test_a_run_leaves_the_ranking_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    task, path = Task(), FeaturePath(names=NAMES, folder=tmp_path)
    run = fit(task, keep_features(3), path)
    left = (task.net[0].weight != 0).any(0)
    assert {*path.selected} == {NAMES[number] for number in range(8) if left[number]}
    assert run.callback_metrics["features/selected"] == 3
    rows = read(tmp_path)
    assert [row["feature"] for row in rows] == path.ranking
    assert [row["selected"] for row in rows] == ["1"] * 3 + ["0"] * 5
    leaves = [int(row["left"]) for row in rows if row["left"]]
    assert leaves == sorted(leaves, reverse=True) and leaves[-1] > 0
    assert (tmp_path / "features.png").stat().st_size > 1000


def test_without_matplotlib_a_run_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PruningWarning)
        fit(Task(), keep_features(3), FeaturePath(folder=tmp_path))
    said = [str(one.message) for one in caught if one.category is PruningWarning]
    assert any("no features.png" in one and "l1prune[plots]" in one for one in said)
    assert len(read(tmp_path)) == 8


def test_a_run_that_is_resumed_has_the_ranking_of_the_one_that_was_not(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    file = tmp_path / "half.ckpt"
    fit(Task(), keep_features(3), FeaturePath(folder=whole), Save(file, 2), epochs=5)
    fit(Task(), keep_features(3), FeaturePath(folder=half), epochs=5, resume=file)
    assert read(half) == read(whole)
    assert any(row["changes"] for row in read(half))


def test_a_run_does_not_go_on_with_other_features(tmp_path: Path) -> None:
    file = tmp_path / "half.ckpt"
    fit(Task(), FeaturePath(folder=tmp_path), Save(file, 2))
    with pytest.raises(ValueError, match="began with 8 features and would go on with 8, or others"):
        fit(Task(), FeaturePath(names=NAMES, folder=tmp_path), resume=file)


def test_another_fit_begins_anew(tmp_path: Path) -> None:
    path = FeaturePath(folder=tmp_path)
    fit(Task(), keep_features(3), path)
    assert len(path.selected) == 3
    fit(Task(), path)
    assert len(path.selected) == 8
    assert not any(row["changes"] for row in read(tmp_path))


def test_variables_are_those_of_the_data(tmp_path: Path) -> None:
    task, path = Task(), FeaturePath(folder=tmp_path)
    with torch.no_grad():
        task.net[0].weight[:, 1:5] = 0
    run = trainer(path, epochs=0)
    run.fit(task, datamodule=Table())
    assert {*path.selected} == {"a", "c", "d", "e"}


def test_pixels_are_found_from_the_example_of_the_input(tmp_path: Path) -> None:
    class Images(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, at: int) -> Any:
            source = torch.Generator().manual_seed(at)
            return torch.randn(2, 2, 3, generator=source), torch.zeros(2)

    task = Task(nn.Sequential(nn.Flatten(), *layers(12, 5, 2)), data=Images())
    task.example_input_array = torch.zeros(1, 2, 2, 3)
    path = FeaturePath(folder=tmp_path)
    with torch.no_grad():  # the second pixel of the first row, in both channels
        task.net[1].weight[:, [1, 7]] = 0
    fit(task, path, epochs=0)
    assert {*path.selected} == {"(0, 0)", "(0, 2)", "(1, 0)", "(1, 1)", "(1, 2)"}


def rounded(line: str) -> str:
    """A line of a table with six digits of each fraction."""
    return ",".join(f"{float(cell):.6g}" if "." in cell else cell for cell in line.split(","))


def test_a_logger_that_takes_tables_gets_one(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    fit(Task(), FeaturePath(names=NAMES), logger=logger)
    lines = (tmp_path / "features-ranking.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "rank,feature,selected,size,left,changes"
    exact = (tmp_path / "features.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [exact[0], *map(rounded, exact[1:])], "the same, with the digits that count"


def test_without_validation_each_epoch_is_looked_at(tmp_path: Path) -> None:
    run = fit(Task(), keep_features(3), FeaturePath(folder=tmp_path), limit_val_batches=0)
    assert run.callback_metrics["features/selected"] == 3


@pytest.mark.parametrize(
    "arguments", [{"block": 0}, {"parts": 1.5}, {"image": (3,)}, {"image": (0, 3)}], ids=str
)
def test_nonsense_is_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="FeaturePath"):
        FeaturePath(**arguments)


def test_a_layer_that_is_not_there_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layer='encoder'.*net\.0\.weight"):
        fit(Task(), FeaturePath("encoder", folder=tmp_path))
