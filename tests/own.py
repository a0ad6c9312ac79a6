"""A regression of one's own, as a user writes it: no `network`, and no accuracy."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


class Regression(L.LightningModule):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(-1)  # type: ignore[no-any-return]

    def _ask(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log(f"{name}/mse", loss)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._ask(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._ask(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._ask(batch, "test")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def parts(rows: int) -> list[Dataset[Any]]:
    """Training, validation and test examples."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=source)
    return list(random_split(TensorDataset(x, x[:, 0] * x[:, 1]), [0.6, 0.2, 0.2], source))


class Table(L.LightningDataModule):
    def __init__(self, rows: int = 200) -> None:
        super().__init__()
        self.rows = rows

    def setup(self, stage: str) -> None:
        self.parts = parts(self.rows)

    def train_dataloader(self) -> Any:
        return DataLoader(self.parts[0], 30, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.parts[1], 40)

    def test_dataloader(self) -> Any:
        return DataLoader(self.parts[2], 40)


class Whole(Regression):
    """Has loaders of its own, and nothing to test; logs a loss alone."""

    test_step = None  # type: ignore[assignment]

    def _ask(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log(f"{name}_loss", loss)
        return loss

    def train_dataloader(self) -> Any:
        return DataLoader(parts(200)[0], 30, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(parts(200)[1], 40)
