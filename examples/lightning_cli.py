"""LightningCLI: the pruning, the network and the data in one YAML file.

python examples/lightning_cli.py fit --config examples/lightning_cli.yaml
python examples/lightning_cli.py fit --config examples/lightning_cli.yaml --trainer.max_epochs 5
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class Moons(L.LightningDataModule):
    """Two half moons, to be told apart; drawn by a formula."""

    def __init__(self, limit: int = 2000, batch_size: int = 64) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)
        side = torch.arange(limit) % 2
        angle = torch.pi * torch.rand(limit, generator=source)
        x = torch.stack([angle.cos(), angle.sin()], 1) * (1 - 2 * side).unsqueeze(1)
        x = x + torch.stack([side, 0.5 * side], 1) + 0.1 * torch.randn(limit, 2, generator=source)
        data = TensorDataset(x, side)
        self.batch_size = batch_size
        self.train, self.val = random_split(data, [0.8, 0.2], source)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, self.batch_size)


class Perceptron(L.LightningModule):
    """Two hidden layers; nothing in it knows of pruning."""

    def __init__(self, width: int = 64, lr: float = 5e-3) -> None:
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(
            *(nn.Linear(2, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 2),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        scores = self.layers(batch[0])
        self.log("val/loss", F.cross_entropy(scores, batch[1]), prog_bar=True)
        self.log("val/accuracy", (scores.argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main(given: Sequence[str] | None = None) -> LightningCLI:
    return LightningCLI(
        Perceptron,
        Moons,
        args=None if given is None else list(given),
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
    )


if __name__ == "__main__":
    main()
