"""A scheduler that goes by a metric takes as many steps in a run that is stopped as in another."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from boring import QUIET
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from l1prune import L1Pruning, LastCheckpoint, last_checkpoint

EPOCHS = 6


class Plateau(BoringModel):
    """Halves its rate whenever the metric, which never gets better, has not got better."""

    def __init__(self, monitor: str = "val_loss") -> None:
        torch.manual_seed(0)
        super().__init__()
        self.rates = list[float]()
        self.monitor = monitor
        self.data = RandomDataset(32, 64)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.data)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.rates.append(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        self.log("train_loss", 1.0 + self.current_epoch, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", 1.0)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=1.0)
        by_metric = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        plateau = {"scheduler": by_metric, "monitor": self.monitor, "frequency": 2}
        return [optimizer], [StepLR(optimizer, 5, 0.1), plateau]


class Stop(L.Callback):
    """Ends the program at the beginning of an epoch."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("stopped")


def trained(
    ckpt_path: Path | None,
    *callbacks: L.Callback,
    stop: int | None = None,
    monitor: str = "val_loss",
) -> Plateau:
    model = Plateau(monitor)
    limits = {"limit_train_batches": 2, "limit_val_batches": 1, "log_every_n_steps": 1}
    every = [L1Pruning(threshold=0.01), Stop(stop), *callbacks]
    trainer = L.Trainer(max_epochs=EPOCHS, callbacks=every, **QUIET | limits)
    with nullcontext() if stop is None else pytest.raises(RuntimeError, match="stopped"):
        trainer.fit(model, ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize("stop", range(1, EPOCHS))
def test_a_run_that_goes_on_from_the_last_checkpoint_has_the_same_rates(
    stop: int, tmp_path: Path
) -> None:
    whole = trained(None, LastCheckpoint(tmp_path / "whole"))
    trained(None, LastCheckpoint(tmp_path / "part"), stop=stop)
    rest = trained(last_checkpoint(tmp_path / "part"), LastCheckpoint(tmp_path / "part"))
    assert rest.rates == whole.rates[2 * stop :]
    assert torch.equal(rest.layer.weight, whole.layer.weight)
    assert len({*whole.rates}) > 2  # the metric has taken it down, and the other one


@pytest.mark.parametrize("at_the_end", [True, False])
def test_so_has_one_that_goes_on_from_a_checkpoint_of_lightnings(
    at_the_end: bool, tmp_path: Path
) -> None:
    keep = partial(
        ModelCheckpoint, tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=at_the_end
    )
    whole = trained(None, keep())
    rest = trained(tmp_path / "epoch=3.ckpt", keep())
    assert rest.rates == whole.rates[8:]


@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_figure_of_the_epoch_before_is_told_to_none(at_the_end: bool, tmp_path: Path) -> None:
    """While a validation runs, that of training in this epoch is not known."""
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=at_the_end)
    trained(None, keep, monitor="train_loss")
    saved = torch.load(tmp_path / "epoch=3.ckpt", weights_only=False)
    assert saved.get("plateaus") == ([[1, 4.0]] if at_the_end else None)


def test_a_run_that_only_looks_at_the_weights_steps_nothing(tmp_path: Path) -> None:
    last = LastCheckpoint(tmp_path)
    trained(None, last, stop=2)
    every = [L1Pruning(threshold=0.01), last]
    trainer = L.Trainer(max_epochs=EPOCHS, callbacks=every, limit_train_batches=2, **QUIET)
    trainer.validate(Plateau(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
    trainer.fit(model := Plateau())
    assert model.rates[0] == 1.0
