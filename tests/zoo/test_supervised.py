"""The learning rate follows its schedule, and a share of the inputs is hidden while training."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import lightning as L
import pytest
import torch
from tasks import trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune.zoo import Classifier, HoldThenDecay


class Rates(L.Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def loader(count: int = 23, batch_size: int = 5) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, generator=generator)
    # Uneven classes and an uneven last batch: a mean of batches or of classes would be another.
    labels = (images[:, 0] > 0.8).long()
    return DataLoader(TensorDataset(images, labels), batch_size)


def model(lr: float = 0.1) -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Linear(3, 2), 2, partial(torch.optim.SGD, lr=lr))


def test_the_rate_is_held_and_then_falls_to_nothing_step_by_step() -> None:
    rates = Rates()
    run = trainer(rates, epochs=4)
    run.fit(model(lr=0.1), loader(), loader())  # 5 steps an epoch, 20 in all, 12 of them held
    assert rates.seen[:13] == [0.1] * 13
    falls = [before - after for before, after in pairwise(rates.seen[12:])]
    assert falls == pytest.approx([0.1 / 8] * 7)
    assert rates.seen[-1] == pytest.approx(0.1 / 8)


def test_holding_the_whole_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hold=1.0"):
        HoldThenDecay(1.0)


def test_a_share_of_the_pixels_is_hidden_while_training_and_none_after() -> None:
    class Sees(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.seen = nn.Linear(100, 2), torch.empty(0)

        def forward(self, images: Tensor) -> Tensor:
            self.seen = images
            logits: Tensor = self.head(images.flatten(1))
            return logits

    model = Classifier(Sees(), 2, partial(torch.optim.SGD, lr=0.1), dropout=0.2)
    torch.manual_seed(0)
    batch = torch.ones(50, 1, 10, 10), torch.zeros(50, dtype=torch.long)
    model.training_step(batch, 0)
    assert model.network.seen.eq(0).float().mean() == pytest.approx(0.2, abs=0.02)
    assert model.network.seen.mean() == pytest.approx(1, abs=0.03)  # on average as bright
    model.eval()(batch[0])
    assert model.network.seen.eq(1).all()


@pytest.mark.parametrize("dropout", [-0.1, 1.0, "much"])
def test_an_impossible_dropout_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=r"model\.dropout="):
        Classifier(nn.Flatten(), 2, partial(torch.optim.SGD, lr=0.1), dropout=dropout)
