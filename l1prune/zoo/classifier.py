"""Supervised classification as a LightningModule, with nothing of pruning in it."""

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
from torchmetrics.classification import MulticlassAccuracy

from l1prune.checks import is_number, is_whole
from l1prune.training.lightning import has_trainer
from l1prune.weights.shards import is_sharded
from l1prune.zoo.examples import InMemory
from l1prune.zoo.images import shifted

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


class Classifier(L.LightningModule):
    """Trains a network on cross-entropy and counts what it gets right.

    Logs ``train/loss``, and of validation and test loss and accuracy, as ``val/loss``. An accuracy
    is the number of right answers over the number of questions, whatever the batches were.

    Args:
        network: images ``(B, C, H, W)`` → logits ``(B, classes)``; or sequences ``(B, T)`` →
            ``(B, T, classes)``, where there is a question at each place.
        classes: number of labels.
        optimizer: parameters → optimizer.
        schedule: progress of the run in [0, 1] → factor of the learning rate, asked every step.
        dropout: share of each image's numbers that are hidden at random while training, in [0, 1).
        shift: pixels by which each image moves at random while training, at most, either way.

    Raises:
        ValueError: `dropout` is no such share, or `shift` no such number.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        optimizer: Callable[[Iterator[nn.Parameter]], Optimizer],
        schedule: Callable[[float], float] = HoldThenDecay(),
        dropout: float = 0.0,
        shift: int = 0,
    ) -> None:
        super().__init__()
        if not is_number(dropout, 0, 1) or dropout == 1:
            raise ValueError(f"model.dropout={dropout!r}: give a share from 0 to below 1")
        if not is_whole(shift, 0):
            raise ValueError(f"model.shift={shift!r}: give a whole number of pixels from 0 up")
        self.dropout = dropout
        self.shift = shift
        self.network = network
        self.make_optimizer = optimizer
        self.schedule = schedule
        # "micro": right answers over all; the default averages the classes' own accuracies.
        self.val_accuracy = MulticlassAccuracy(classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(classes, average="micro")
        self._losses: list[Tensor] = []

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
        logits: Tensor = self.network(inputs)
        return logits

    def _ask(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the logits ``(N, classes)`` and the labels ``(N,)`` of all questions."""
        logits, labels = self(inputs).flatten(0, -2), labels.flatten()
        return F.cross_entropy(logits, labels), logits, labels

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, labels = batch
        if self.shift:
            images = shifted(images, self._offsets(len(images)).to(images.device))
        if self.dropout:
            images = self._hide(images)
        loss, _, _ = self._ask(images, labels)
        self._losses.append(loss.detach())
        return loss

    def _hide(self, images: Tensor) -> Tensor:
        """Dropout; processes that share a batch hide what one that had all of it would hide."""
        if self._processes == 1:
            return F.dropout(images, self.dropout)
        whole = (len(images) * self._processes, *images.shape[1:])
        return images * self._dealt(F.dropout(images.new_ones(whole), self.dropout))

    def _offsets(self, count: int) -> Tensor:
        """By how much each image moves, down and right: ``(count, 2)``."""
        whole = (count * self._processes, 2)
        return self._dealt(torch.randint(-self.shift, self.shift + 1, whole, device=self.device))

    @property
    def _processes(self) -> int:
        return self.trainer.world_size if has_trainer(self) else 1

    def _dealt(self, drawn: Tensor) -> Tensor:
        """This process's part of what was drawn for the images of all."""
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

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        loss, logits, labels = self._ask(*batch)
        self.val_accuracy(logits, labels)
        self.log("val/loss", loss, sync_dist=True)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        loss, logits, labels = self._ask(*batch)
        self.test_accuracy(logits, labels)
        self.log("test/loss", loss, sync_dist=True)
        self.log("test/accuracy", self.test_accuracy)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.parameters())
        steps = self.trainer.estimated_stepping_batches
        scheduler = LambdaLR(optimizer, lambda step: self.schedule(min(1.0, step / steps)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
