"""Supervised learning as a LightningModule, with nothing of pruning in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from l1prune.checks import is_number
from l1prune.training.lightning import has_trainer
from l1prune.weights.shards import is_sharded
from l1prune.zoo.examples import InMemory

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

    from l1prune.zoo.examples import Batch


@dataclass(frozen=True)
class HoldThenDecay:
    """Learning-rate factor: 1 at first, then down to 0 along a straight line.

    Args:
        hold: fraction of the run, in [0, 1), before the descent.
        warm: fraction of the run, in [0, hold], in which it rises to 1 first: transformers need it.

    >>> [HoldThenDecay(0.5)(progress) for progress in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    >>> [HoldThenDecay(0.5, warm=0.1)(progress) for progress in (0.0, 0.05, 0.1)]
    [0.0, 0.5, 1.0]
    """

    hold: float = 0.6
    warm: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.hold < 1:
            raise ValueError(f"hold={self.hold}: give a fraction of the run from 0 to below 1")
        if not 0 <= self.warm <= self.hold:
            raise ValueError(f"warm={self.warm}: give a fraction of the run from 0 to {self.hold}")

    def __call__(self, progress: float) -> float:
        rise = progress / self.warm if self.warm else 1.0
        return min(1.0, rise, (1 - progress) / (1 - self.hold))


class Supervised(L.LightningModule):
    """Trains a network on examples; a subclass says what it is asked, and by what it is judged.

    Logs ``train/loss``.

    Args:
        network: inputs ``(B, …)`` → answers.
        optimizer: parameters → optimizer.
        schedule: progress of the run in [0, 1] → factor of the learning rate, asked every step.
        dropout: share of each input's numbers that are hidden at random while training, in [0, 1).

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
        super().__init__()
        if not is_number(dropout, 0, 1) or dropout == 1:
            raise ValueError(f"model.dropout={dropout!r}: give a share from 0 to below 1")
        self.dropout = dropout
        self.network = network
        self.make_optimizer = optimizer
        self.schedule = schedule
        self._losses: list[Tensor] = []

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """What is trained by: the mean over a batch."""
        raise NotImplementedError

    def changed(self, inputs: Tensor) -> Tensor:
        """Inputs as they are shown while training."""
        return self._hide(inputs) if self.dropout else inputs

    def configure_model(self) -> None:
        """Shard the network, layer by layer, where the strategy is FSDP2."""
        mesh = self.device_mesh
        if mesh is None or any(is_sharded(weight) for weight in self.parameters()):
            return
        from torch.distributed.fsdp import fully_shard

        for layer in self.network.children():
            if next(layer.parameters(), None) is not None:
                fully_shard(layer, mesh=mesh["data_parallel"])
        fully_shard(self.network, mesh=mesh["data_parallel"])

    def setup(self, stage: str) -> None:
        """Take an example of the input from the data, for whatever asks for one."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.example_input_array is None and isinstance(data, InMemory) and data.train:
            self.example_input_array = data.train.inputs[:2]

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim == 4:
            # Convolutions on a CPU take less time so, LeNet-5's step half of it. `contiguous` would
            # not do: it leaves images of one channel as they are.
            inputs = inputs.to(memory_format=torch.channels_last)
        answers: Tensor = self.network(inputs)
        return answers

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        inputs, labels = batch
        loss = self.loss(self.changed(inputs), labels)
        self._losses.append(loss.detach())
        return loss

    def _hide(self, inputs: Tensor) -> Tensor:
        """Dropout; processes that share a batch hide what one that had all of it would hide."""
        if self._processes == 1:
            return F.dropout(inputs, self.dropout)
        whole = (len(inputs) * self._processes, *inputs.shape[1:])
        return inputs * self._dealt(F.dropout(inputs.new_ones(whole), self.dropout))

    @property
    def _processes(self) -> int:
        return self.trainer.world_size if has_trainer(self) else 1

    def _dealt(self, drawn: Tensor) -> Tensor:
        """This process's part of what was drawn for the examples of all."""
        if self._processes > 1:
            torch.distributed.broadcast(drawn, 0)
            drawn = drawn[self.global_rank :: self._processes]  # as Shuffle deals
        return drawn

    def on_train_epoch_end(self) -> None:
        # Once an epoch: a call to `log` every step takes as long as a small network's own step.
        losses = [loss.to(self.device) for loss in self._losses]
        self.log("train/loss", torch.stack(losses).mean(), sync_dist=True)
        self._losses.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["losses"] = self._losses  # of the epoch that a resumed run goes on with

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._losses = list(checkpoint.get("losses", ()))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.parameters())
        steps = self.trainer.estimated_stepping_batches
        scheduler = LambdaLR(optimizer, lambda step: self.schedule(min(1.0, step / steps)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
