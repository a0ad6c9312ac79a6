"""Supervised classification as a LightningModule, with nothing of pruning in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from l1prune.checks import is_whole
from l1prune.zoo.images import shifted
from l1prune.zoo.supervised import HoldThenDecay, Supervised

if TYPE_CHECKING:
    from l1prune.zoo.examples import Batch


class Classifier(Supervised):
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
        super().__init__(network, optimizer, schedule, dropout)
        if not is_whole(shift, 0):
            raise ValueError(f"model.shift={shift!r}: give a whole number of pixels from 0 up")
        self.shift = shift
        # "micro": right answers over all; the default averages the classes' own accuracies.
        self.val_accuracy = MulticlassAccuracy(classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(classes, average="micro")

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self._ask(inputs, labels)[0]

    def changed(self, inputs: Tensor) -> Tensor:
        if self.shift:
            inputs = shifted(inputs, self._offsets(len(inputs)).to(inputs.device))
        return super().changed(inputs)

    def _ask(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the logits ``(N, classes)`` and the labels ``(N,)`` of all questions."""
        logits, labels = self(inputs).flatten(0, -2), labels.flatten()
        return F.cross_entropy(logits, labels), logits, labels

    def _offsets(self, count: int) -> Tensor:
        """By how much each image moves, down and right: ``(count, 2)``."""
        whole = (count * self._processes, 2)
        return self._dealt(torch.randint(-self.shift, self.shift + 1, whole, device=self.device))

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
