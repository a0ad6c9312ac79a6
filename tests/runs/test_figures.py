"""What validation logs is known before training, and the run is what it would have been."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from l1prune.runs.figures import validation_figures
from l1prune.training.lightning import has_trainer

ON_CPU = partial(L.Trainer, accelerator="cpu", max_epochs=3)


class Regression(BoringModel):
    """Draws random numbers, keeps statistics, asks for a logger and for the length of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(32)
        self.seen = 0

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        raise AssertionError("nothing is trained")

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.seen += 1
        self.logger.experiment.add_image("a", self.norm(batch))  # type: ignore[union-attr]
        self.log("val/mse", self.layer(self.norm(batch)).square().mean() + torch.rand(()))
        self.log("val/mae", 1.0)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        steps = int(self.trainer.estimated_stepping_batches)
        return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps)]


class Mute(BoringModel):
    validation_step = None  # type: ignore[assignment]
    val_dataloader = None  # type: ignore[assignment]

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        raise AssertionError("nothing is trained")


class FitOnly(BoringDataModule):
    """Has its validation set where a fit begins, as most do."""

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.held: Dataset[Tensor] = torch.utils.data.TensorDataset(torch.randn(8, 32))
            super().setup(stage)

    def val_dataloader(self) -> Any:
        return DataLoader(self.held, collate_fn=lambda rows: torch.stack([one[0] for one in rows]))


@pytest.mark.parametrize("data", [None, FitOnly()], ids=["own loaders", "data module"])
def test_they_are_named_in_the_order_of_logging(data: L.LightningDataModule | None) -> None:
    assert list(validation_figures(Regression(), data, ON_CPU)) == ["val/mse", "val/mae"]


def test_module_and_randomness_stay_as_they_are() -> None:
    model = Regression()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    validation_figures(model, None, ON_CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.seen == 0 and model.training and not has_trainer(model)


def test_a_module_without_validation_logs_nothing() -> None:
    assert validation_figures(Mute(), None, ON_CPU) == {}


def test_an_error_is_the_modules_own_and_restores_the_randomness() -> None:
    class Broken(Regression):
        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            torch.rand(3)
            raise KeyError("mine")

    model, state = Broken(), torch.get_rng_state()
    with pytest.raises(KeyError, match="mine"):
        validation_figures(model, None, ON_CPU)
    assert torch.equal(torch.get_rng_state(), state)
