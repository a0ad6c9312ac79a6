"""A small regression, and a trainer that says nothing: what the tests of whole runs are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

ADAMW = partial(torch.optim.AdamW, lr=0.01)


def layers(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them, the same numbers every time."""
    torch.manual_seed(0)
    every = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*every[:-1])


def examples(count: int = 50, inputs: int = 8, outputs: int = 2) -> TensorDataset:
    """Noise to be fitted to noise, the same numbers every time."""
    source = torch.Generator().manual_seed(1)
    x = torch.randn(count, inputs, generator=source)
    return TensorDataset(x, torch.randn(count, outputs, generator=source))


class Task(L.LightningModule):
    """A regression whose batches come in the same order in each epoch, validated on them too.

    It writes down its training `losses`, one a batch.

    Args:
        net: What is trained; without one, 300 weights in two layers and a ReLU.
        optimizer: Makes the optimizer of the parameters.
        data: Pairs of an input and what the network should answer.
        batch_size: How many of them a batch has.
    """

    def __init__(
        self,
        net: nn.Module | None = None,
        optimizer: Callable[..., Any] = ADAMW,
        data: Dataset[Any] | None = None,
        batch_size: int = 10,
    ) -> None:
        super().__init__()
        self.net: Any = layers(8, 30, 2) if net is None else net
        self.optimizer, self.batch_size = optimizer, batch_size
        self.data: Any = examples() if data is None else data
        self.losses: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y

    def loss(self, batch: list[Tensor]) -> Tensor:
        loss = (self(batch[0]) - batch[1]).square().mean()
        if self.training:
            self.losses.append(loss.item())
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        return self.loss(batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch))

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, self.batch_size)

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters())


class Save(L.Callback):
    """Saves a checkpoint when so many epochs are over.

    Args:
        file: Where.
        epochs: After how many.
    """

    def __init__(self, file: Path, epochs: int) -> None:
        self.file, self.epochs = file, epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == self.epochs - 1:
            trainer.save_checkpoint(self.file)


def trainer(*callbacks: L.Callback, epochs: int = 4, **options: Any) -> L.Trainer:
    """A trainer on the CPU that prints nothing, and saves what its callbacks save."""
    plan: dict[str, Any] = {"max_epochs": epochs, "accelerator": "cpu", "logger": False}
    plan |= {"enable_progress_bar": False, "enable_model_summary": False}
    plan["enable_checkpointing"] = any(isinstance(one, Checkpoint) for one in callbacks)
    return L.Trainer(callbacks=list(callbacks), **(plan | options))


def fit(
    task: L.LightningModule, *callbacks: L.Callback, resume: Path | None = None, **options: Any
) -> L.Trainer:
    """Train it with such a trainer, to the end, from a checkpoint where there is one."""
    run = trainer(*callbacks, **options)
    run.fit(task, ckpt_path=resume, weights_only=True)
    return run
