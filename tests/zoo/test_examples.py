"""Examples: read in whole batches, in an order that is the seed's alone, each once an epoch."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from l1prune.zoo.examples import Examples, InMemory


def numbered(count: int) -> Examples:
    return Examples(torch.arange(float(count)).view(-1, 1), 100 + torch.arange(count))


class Numbers(InMemory):
    """Twenty to train with, seven to validate, five to test."""

    def setup(self, stage: str) -> None:
        self.train, self.val, self.test = numbered(20), numbered(7), numbered(5)


def ready(batch_size: int = 4, seed: int = 0, at_once: int = 3) -> Numbers:
    data = Numbers(batch_size, seed, at_once)
    data.setup("fit")
    return data


def labels(loader: DataLoader[tuple[Tensor, Tensor]]) -> list[list[int]]:
    return [batch.tolist() for _, batch in loader]


def test_one_example_is_one_row() -> None:
    images = Examples(torch.rand(3, 1, 2, 2), torch.tensor([4, 5, 6]))
    image: Tensor = images[1][0]
    assert torch.equal(image, images.inputs[1])
    assert images[1][1] == 5


@given(st.lists(st.integers(0, 11), max_size=20))
def test_a_batch_and_a_subset_are_the_rows_in_that_order(rows: list[int]) -> None:
    inputs, found = numbered(12).__getitems__(rows)
    assert found.tolist() == [100 + row for row in rows]
    assert inputs.flatten().tolist() == rows
    assert numbered(12).subset(rows).labels.tolist() == found.tolist()
    assert len(numbered(12).subset(rows)) == len(rows)


def test_each_training_example_comes_once_an_epoch_in_whole_batches() -> None:
    data = ready(batch_size=6)
    batches = labels(data.train_dataloader())
    assert [len(batch) for batch in batches] == [6, 6, 6]
    seen = [label for batch in batches for label in batch]
    assert len({*seen}) == 18 and {*seen} <= {*range(100, 120)}


def test_the_order_is_the_seeds_alone_and_another_in_each_epoch() -> None:
    torch.manual_seed(1)
    one, same, other = (labels(ready(seed=seed).train_dataloader()) for seed in (0, 0, 1))
    assert one == same != other
    loader = ready().train_dataloader()
    first = labels(loader)
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]  # as a trainer does
    second = labels(loader)
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second))


def test_validation_and_test_go_through_all_in_order() -> None:
    data = ready()
    assert labels(data.val_dataloader()) == [[100, 101, 102], [103, 104, 105], [106]]
    assert labels(data.test_dataloader()) == [[100, 101, 102], [103, 104]]


@pytest.mark.parametrize(("batch_size", "seed"), [(0, 0), (4, -1)])
def test_sizes_and_seeds_that_cannot_be_are_refused(batch_size: int, seed: int) -> None:
    wrong = f"data.batch_size={batch_size}" if batch_size < 1 else f"data.seed={seed}"
    with pytest.raises(ValueError, match=wrong):
        Numbers(batch_size, seed)


def test_a_batch_of_more_than_there_are_is_refused_with_how_many_there_are() -> None:
    with pytest.raises(ValueError, match=r"batch_size=21: .* no more than the 20 training"):
        ready(batch_size=21).train_dataloader()
