"""Regression as a LightningModule, with nothing of pruning in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.regression import MeanSquaredError

from l1prune.zoo.supervised import HoldThenDecay, Supervised

if TYPE_CHECKING:
    from l1prune.zoo.examples import Batch


class Regressor(Supervised):
    """Trains a network to meet numbers, by the mean squared error.

    Logs ``train/loss``, ``val/mse`` and ``test/mse``: means over all rows, whatever the batches
    were.

    Args:
        network: rows ``(B, inputs)`` → ``(B, 1)``.
        optimizer: parameters → optimizer.
        schedule: progress of the run in [0, 1] → factor of the learning rate, asked every step.
        dropout: share of each row's numbers that are hidden at random while training, in [0, 1).

    Raises:
        ValueError: `dropout` is no such share.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterator[nn.Parameter]], Optimizer],
        schedule: Callable[[float], float] = HoldThenDecay(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(network, optimizer, schedule, dropout)
        self.val_mse = MeanSquaredError()
        self.test_mse = MeanSquaredError()

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(self(inputs).squeeze(1), labels)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.val_mse(self(batch[0]).squeeze(1), batch[1])
        self.log("val/mse", self.val_mse, prog_bar=True)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        self.test_mse(self(batch[0]).squeeze(1), batch[1])
        self.log("test/mse", self.test_mse)
