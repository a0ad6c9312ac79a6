"""A regression on a table: the smallest network that is nearly as good as the dense one.

python examples/regression.py
python examples/regression.py --allow 0.2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors.torch import save_file
from sklearn.datasets import make_friedman1
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from l1prune import Budget, L1Pruning, SparsityReport


class Table(L.LightningDataModule):
    """Twenty columns, of which five say something about the answer (Friedman, 1991)."""

    def __init__(self, rows: int = 2000) -> None:
        super().__init__()
        x, y = make_friedman1(rows, n_features=20, noise=0.5, random_state=0)
        inputs, answers = torch.tensor(x).float(), torch.tensor(y).float()
        data = TensorDataset(inputs, (answers - answers.mean()) / answers.std())
        source = torch.Generator().manual_seed(0)
        self.train, self.val, self.test = random_split(data, [0.7, 0.15, 0.15], source)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=64, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, batch_size=1024)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.test, batch_size=1024)


class Regression(L.LightningModule):
    """A multilayer perceptron; nothing in it knows of pruning."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Linear(20, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 1),
        )

    def mse(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        error: Tensor = self.network(batch[0]).squeeze(1) - batch[1]
        return error.square().mean()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self.mse(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("val/mse", self.mse(batch), prog_bar=True)

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("test/mse", self.mse(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a regression as far as a budget allows.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--allow", type=float, default=0.02, help="how much val/mse may rise")
    parser.add_argument("--limit", type=int, default=2000, help="rows of the table")
    parser.add_argument("--folder", type=Path, default=Path("runs/regression"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> SparsityReport | None:
    options = arguments(given)
    L.seed_everything(0, verbose=False)
    # A third of the run trains the dense network; then six rounds look for the smallest one.
    pruning = L1Pruning(threshold=Budget("val/mse", options.allow))
    trainer = L.Trainer(
        max_epochs=options.epochs,
        callbacks=[pruning],
        logger=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    model, data = Regression(), Table(options.limit)
    trainer.fit(model, data)
    for outcome in pruning.outcomes:
        print(f"{100 * outcome['sparsity']:6.2f} % zeros: val/mse {outcome['val/mse']:.4f}")
    trainer.test(model, data)
    options.folder.mkdir(parents=True, exist_ok=True)
    save_file(model.network.state_dict(), options.folder / "model.safetensors")
    return pruning.report


if __name__ == "__main__":
    main()
