"""A run's identity: in each checkpoint, and lost with the folder that it trains in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from boring import boring_trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from l1prune import LastCheckpoint, last_checkpoint
from l1prune.runs.identity import RunIdentity, read_id

SETTINGS = {"data": {"batch_size": 32}, "model": {"width": 8}, "prune": None, "seed": 0}


class At(L.Callback):
    """Does something at the beginning of an epoch, to a run that will not expect it."""

    def __init__(self, epoch: int, act: Callable[[], Any]) -> None:
        self.epoch, self.act = epoch, act

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            self.act()


def fit(folder: Path, *others: L.Callback, epochs: int = 3) -> L.Trainer:
    callbacks = [RunIdentity(folder, SETTINGS), *others, LastCheckpoint(folder)]
    trainer = boring_trainer(*callbacks, epochs=epochs)
    trainer.fit(BoringModel(), ckpt_path=last_checkpoint(folder))
    return trainer


def test_each_checkpoint_says_in_plain_values_which_run_it_is_of(tmp_path: Path) -> None:
    best = L.pytorch.callbacks.ModelCheckpoint(tmp_path, "best")
    fit(tmp_path, best)
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(tmp_path / name, weights_only=True)
        told = checkpoint["callbacks"]["RunIdentity"]
        assert told == SETTINGS | {"id": read_id(tmp_path / ".id")} and told["id"]


def test_two_folders_have_two_ids_and_one_keeps_its_own(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        fit(folder)
    kept = [read_id(tmp_path / name / ".id") for name in "ab"]
    assert len({*kept, ""}) == 3
    fit(tmp_path / "a", epochs=4)
    assert read_id(tmp_path / "a" / ".id") == kept[0]


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("other"), folder)


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("lose", [shutil.rmtree, renamed, emptied, replaced])
def test_a_run_that_loses_its_folder_ends_there(
    tmp_path: Path, lose: Callable[[Path], Any], epoch: int
) -> None:
    folder = tmp_path / "run"
    fit(tmp_path / "other", epochs=1)
    with pytest.raises(FileNotFoundError, match="run was moved, deleted or emptied"):
        fit(folder, At(epoch, lambda: lose(folder)))
    assert not (folder / "config.yaml").exists() or lose is replaced
    assert lose is renamed or not last_checkpoint(folder) or lose is replaced


def test_a_test_or_validation_asks_nothing(tmp_path: Path) -> None:
    trainer = fit(tmp_path)
    other = RunIdentity(tmp_path, SETTINGS | {"seed": 1})
    evaluator = boring_trainer(other, limit_val_batches=1)
    assert trainer.global_step and evaluator.validate(
        BoringModel(), ckpt_path=tmp_path / "last.ckpt", verbose=False
    )
