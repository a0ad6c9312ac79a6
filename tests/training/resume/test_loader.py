"""Loader: the order of an epoch can be drawn again, and gone on with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler, TensorDataset

from l1prune.training.resume.loader import ResumableLoader, Shuffle


@pytest.mark.parametrize(("count", "processes"), [(12, 1), (12, 3), (13, 3), (14, 3)])
def test_processes_share_the_examples_of_one_order(count: int, processes: int) -> None:
    dealt = [list(Shuffle(count, 7, processes, rank)) for rank in range(processes)]
    assert len({len(part) for part in dealt}) == 1
    rounds = [index for one_each in zip(*dealt) for index in one_each]
    assert rounds == list(Shuffle(count, 7))[: count // processes * processes]


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    orders = []
    for seed in (0, 1):
        shuffle = Shuffle(50, seed)
        for epoch in (0, 1):
            shuffle.set_epoch(epoch)
            orders.append(tuple(shuffle))
            torch.manual_seed(99)
            assert orders[-1] == tuple(shuffle)
            assert sorted(shuffle) == list(range(50))
    assert len(set(orders)) == 4


def loader(**options: Any) -> ResumableLoader[Any]:
    data = TensorDataset(torch.arange(20))
    return ResumableLoader(data, **({"batch_size": 4, "sampler": Shuffle(20)} | options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 1},
        {"sampler": DistributedSampler(range(20), 1, 0)},
        {"batch_size": 1, "sampler": None, "batch_sampler": BatchSampler(Shuffle(20), 4, False)},
    ],
    ids=["in the process", "a worker", "torch's sampler", "whole batches"],
)
@pytest.mark.parametrize("done", [0, 1, 4, 5])
def test_it_goes_on_at_the_next_batch(options: dict[str, Any], done: int) -> None:
    first = loader(**options)
    whole, state = [], first.state_dict()
    for (batch,) in first:
        whole.append(batch.tolist())
        if len(whole) == done:
            state = first.state_dict()
    again = loader(**options)
    again.load_state_dict(state)
    assert [batch.tolist() for (batch,) in again] == whole[done:]
    assert [batch.tolist() for (batch,) in again] == whole


def test_an_epoch_that_was_cut_short_is_over_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    again = loader()
    again.load_state_dict({"epoch": 0, "done": 3, "batches": 5})
    again.sampler.set_epoch(1)
    assert len(list(again)) == 5


def test_other_batches_within_an_epoch_are_refused() -> None:
    again = loader(batch_size=2)
    again.load_state_dict({"epoch": 0, "done": 3, "batches": 5})
    with pytest.raises(ValueError, match=r"stopped after 3 of 5 batches .* now has 10"):
        next(iter(again))


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": None},
        {"sampler": None, "shuffle": True},
        {"sampler": SequentialSampler(range(20))},
    ],
    ids=["none", "shuffle", "sequential"],
)
def test_an_order_that_cannot_be_drawn_again_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sampler=Shuffle"):
        loader(**options)
