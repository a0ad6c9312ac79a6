"""A pruned run and a dense one tell their loggers the same things."""

from __future__ import annotations

import csv
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger
from tasks import Task, trainer
from torch import Tensor

from l1prune import L1Pruning, Sparsity, SparsityPath
from l1prune.runs.baseline import Baseline


class Logging(Task):
    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_mse", self.loss(batch))


def points(folder: Path, callback: L.Callback, epochs: int = 6) -> list[list[str]]:
    """The frontier that a run of these callbacks leaves with a logger, without its header."""
    logger, task = CSVLogger(folder, name="", version=""), Logging()
    run = trainer(callback, epochs=epochs, logger=logger, log_every_n_steps=1)
    run.fit(task)
    run.test(task, task.val_dataloader(), verbose=False)
    with open(folder / "frontier-points.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize(
    ("callback", "sizes"),
    [
        (L1Pruning(threshold=Sparsity(0.5), prune_at=[0.5]), ["150"]),
        (L1Pruning(threshold=SparsityPath((0.5, 0.9)), prune_at=[0.5]), ["150", "30"]),
        (Baseline(), ["300"]),
    ],
    ids=["once", "path", "dense"],
)
def test_a_run_is_a_point_and_a_path_one_for_each_stage(
    tmp_path: Path, callback: L.Callback, sizes: list[str]
) -> None:
    found = points(tmp_path, callback)
    assert [left for left, name, _ in found if name == "val/loss"] == sizes


def test_a_baseline_keeps_what_it_has_seen(tmp_path: Path) -> None:
    first, again = Baseline(), Baseline()
    points(tmp_path, first, epochs=2)
    again.load_state_dict(first.state_dict())
    assert again.state_dict() == first.state_dict()
    assert len(first.state_dict()["validations"]["rows"]) == 2
