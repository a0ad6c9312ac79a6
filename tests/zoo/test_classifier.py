"""Accuracies are exact counts, the loss is the mean, images move while training."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tasks import trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune.zoo import Classifier


def loader(count: int = 23, batch_size: int = 5) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, generator=generator)
    # Uneven classes and an uneven last batch: a mean of batches or of classes would be another.
    labels = (images[:, 0] > 0.8).long()
    return DataLoader(TensorDataset(images, labels), batch_size)


def model(lr: float = 0.1) -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Linear(3, 2), 2, partial(torch.optim.SGD, lr=lr))


def test_accuracy_counts_right_answers_over_all_images() -> None:
    classifier, data = model(), loader()
    images, labels = data.dataset.tensors  # type: ignore[attr-defined]
    right = int((classifier(images).argmax(1) == labels).sum())
    run = trainer()
    assert run.test(classifier, data, verbose=False)[0]["test/accuracy"] * 23 == pytest.approx(
        right
    )
    run.validate(classifier, data, verbose=False)
    assert run.callback_metrics["val/accuracy"].item() * 23 == pytest.approx(right)


def test_training_lowers_the_loss_and_logs_it() -> None:
    classifier, data, run = model(), loader(), trainer(epochs=1)
    run.fit(classifier, data, data)
    first = run.callback_metrics["train/loss"]
    run = trainer(epochs=5)
    run.fit(classifier, data, data)
    assert run.callback_metrics["train/loss"] < first
    assert {"val/loss", "val/accuracy"} <= run.callback_metrics.keys()


def test_images_move_while_training_and_stay_after() -> None:
    seen: list[Tensor] = []

    class Look(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images.flatten(1))

    model = Classifier(Look(49, 2), 2, partial(torch.optim.SGD, lr=0.1), shift=2)
    torch.manual_seed(0)
    images = torch.zeros(200, 1, 7, 7)
    images[:, :, 3, 3] = 1
    model.training_step((images, torch.zeros(200, dtype=torch.long)), 0)
    model.eval()(images)
    during, after = seen
    assert after.equal(images)
    assert during.sum((1, 2, 3)).eq(1).all()  # the dot is in each of them, up to two pixels off
    places = during.flatten(1).argmax(1)
    assert sorted({(int(at) // 7, int(at) % 7) for at in places}) == [
        (row, column) for row in range(1, 6) for column in range(1, 6)
    ]


@pytest.mark.parametrize("shift", [-1, 0.5, "far"])
def test_an_impossible_shift_is_refused(shift: int) -> None:
    with pytest.raises(ValueError, match=r"model\.shift="):
        Classifier(nn.Flatten(), 2, partial(torch.optim.SGD, lr=0.1), shift=shift)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_their_channels_last_and_mean_the_same(channels: int) -> None:
    class Look(nn.Conv2d):
        def forward(self, inputs: Tensor) -> Tensor:
            strides.append(inputs.stride(1))
            return super().forward(inputs)

    strides: list[int] = []
    images = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(Look(channels, 4, 8), nn.Flatten())
    model = Classifier(network, 4, partial(torch.optim.SGD, lr=0.1))
    torch.testing.assert_close(model(images), network(images))
    assert strides == [1, 64]
