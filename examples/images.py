"""A convolutional network on handwritten digits, with OneCycleLR, early stopping and checkpoints.

python examples/images.py
python examples/images.py --epochs 60 --sparsity 0.98
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from l1prune import L1Pruning, Sparsity, SparsityReport


class Digits(L.LightningDataModule):
    """1,797 images of 8 × 8, which come with scikit-learn."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        images, labels = load_digits(return_X_y=True)
        pixels = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
        data = TensorDataset(pixels[:limit], torch.tensor(labels)[:limit])
        source = torch.Generator().manual_seed(0)
        self.train, self.val, self.test = random_split(data, [0.7, 0.15, 0.15], source)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=32, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, batch_size=512)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.test, batch_size=512)


class Network(L.LightningModule):
    """Three convolutions and a linear layer; nothing in it knows of pruning."""

    def __init__(self, lr: float = 5e-3) -> None:
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(256, 10)),
        )

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.layers(images)
        return scores

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def evaluate(self, batch: tuple[Tensor, Tensor], name: str) -> None:
        scores = self(batch[0])
        self.log(f"{name}/loss", F.cross_entropy(scores, batch[1]), prog_bar=True)
        self.log(f"{name}/accuracy", (scores.argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.evaluate(batch, "test")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a convolutional network on digits.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sparsity", type=float, default=0.95, help="share of zeros")
    parser.add_argument("--limit", type=int, help="images in all; by default 1,797")
    parser.add_argument("--folder", type=Path, default=Path("runs/images"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> SparsityReport | None:
    options = arguments(given)
    L.seed_everything(0, verbose=False)
    pruning = L1Pruning(threshold=Sparsity(options.sparsity))
    best = ModelCheckpoint(options.folder, "best", monitor="val/accuracy", mode="max")
    trainer = L.Trainer(
        max_epochs=options.epochs,
        callbacks=[pruning, EarlyStopping("val/loss", patience=5), best],
        logger=False,
        log_every_n_steps=1,
    )
    model, data = Network(), Digits(options.limit)
    trainer.fit(model, data)
    trainer.test(model, data)
    print(f"the best network: {best.best_model_path}")
    return pruning.report


if __name__ == "__main__":
    main()
