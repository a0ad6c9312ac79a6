"""Splits do not overlap, the test set stays put, and the order is the seed's alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from l1prune.zoo.examples import Examples
from l1prune.zoo.images import ImageData, shifted


class Counted(ImageData):
    """Image i is i everywhere, so an image can be recognised after it was scaled."""

    def __init__(
        self,
        batch_size: int = 8,
        val_fraction: float = 0.2,
        seed: int = 0,
        shape: Sequence[int] = (1, 2, 2),
        classes: int = 3,
    ) -> None:
        super().__init__(shape, classes, batch_size, val_fraction, seed)

    def read(self) -> tuple[Examples, Examples]:
        images = torch.arange(90).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8)
        labels = torch.arange(90) % 3
        return Examples(images[:60], labels[:60]), Examples(images[60:], labels[60:])


def ready(data: Counted) -> tuple[Examples, Examples, Examples]:
    data.setup("fit")
    assert data.train and data.val and data.test
    return data.train, data.val, data.test


def ranks(*parts: Examples) -> list[list[int]]:
    """Which image each one was: scaling keeps the order of all, so ranks tell."""
    values = torch.cat([part.inputs[:, 0, 0, 0] for part in parts])
    order = values.argsort().argsort()
    return [rank.tolist() for rank in order.split([len(part) for part in parts])]


def test_splits_hold_every_image_once_and_every_class_alike() -> None:
    train, val, test = ready(Counted())
    assert sorted(rank for part in ranks(train, val, test) for rank in part) == list(range(90))
    assert [part.labels.bincount().tolist() for part in (train, val, test)] == [
        [16, 16, 16],
        [4, 4, 4],
        [10, 10, 10],
    ]


def test_the_seed_moves_validation_but_not_the_test_set() -> None:
    zero, one = ranks(*ready(Counted(seed=0))), ranks(*ready(Counted(seed=1)))
    assert sorted(zero[1]) != sorted(one[1])
    assert zero[2] == one[2] == list(range(60, 90))


def test_scaled_by_the_training_images_alone() -> None:
    train, _, test = ready(Counted())
    torch.testing.assert_close(train.inputs.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.inputs.std(correction=0), torch.tensor(1.0))
    assert test.inputs.mean() > 1  # the test images are the brighter ones, and stay so


def test_an_epoch_has_each_training_image_once_in_whole_batches() -> None:
    data = Counted(batch_size=10)
    train, _, _ = ready(data)
    batches = list(data.train_dataloader())
    assert [len(labels) for _, labels in batches] == [10, 10, 10, 10]
    seen = torch.cat([images[:, 0, 0, 0] for images, _ in batches]).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(train.inputs[:, 0, 0, 0].tolist())


def test_a_batch_of_more_images_than_there_are_is_refused() -> None:
    data = Counted()
    ready(data)
    data.batch_size = 1000
    with pytest.raises(ValueError, match=r"data.batch_size=1000: .* no more than the 48"):
        data.train_dataloader()


def test_images_keep_their_labels() -> None:
    data = Counted()
    train, _, _ = ready(data)
    label_of = dict(zip(train.inputs[:, 0, 0, 0].tolist(), train.labels.tolist(), strict=True))
    for images, labels in data.train_dataloader():
        assert [label_of[value] for value in images[:, 0, 0, 0].tolist()] == labels.tolist()


def test_setup_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Counted()
    data.setup("fit")
    monkeypatch.setattr(data, "read", lambda: pytest.fail("read again"))
    data.setup("test")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "data.batch_size=0"),
        ("val_fraction", 1.0, "data.val_fraction=1.0"),
        ("seed", -1, "data.seed=-1"),
    ],
)
def test_impossible_sizes_are_refused_at_once(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Counted(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (Counted(shape=(1, 8, 8)), r"give data.shape=\[1,2,2\]"),
        (Counted(classes=2), "give data.classes=3"),
    ],
)
def test_images_other_than_declared_are_refused(data: Counted, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        data.setup("fit")


def test_a_shifted_image_is_the_same_image_somewhere_else() -> None:
    images = torch.arange(2 * 3 * 5 * 6).view(2, 3, 5, 6)
    moved = shifted(images, torch.tensor([[1, -2], [0, 0]]))
    assert moved[0, :, 1:, :4].equal(images[0, :, :-1, 2:])
    assert moved[0, :, 0].equal(moved[0, :, 1])  # the edge, repeated
    assert moved[0, :, :, 4:].eq(moved[0, :, :, 3:4]).all()
    assert moved[1].equal(images[1])
