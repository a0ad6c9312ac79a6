"""Shards: what holds of a plain tensor, and of a sharded one whichever process has which part.

A run over two processes is in tests/training/test_strategies.py; here one process has it all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from l1prune.weights import shards

needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="torch was built without torch.distributed or gloo",
)


@pytest.fixture(params=["plain", pytest.param("sharded", marks=needs_gloo)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Puts a tensor where weights are: here, or on a mesh of one process."""
    if request.param == "plain":
        yield lambda tensor: tensor
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield lambda tensor: distribute_tensor(tensor, mesh, (Shard(0),))
    finally:
        dist.destroy_process_group()


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_local_part_shares_its_memory(place: Any) -> None:
    tensor = place(numbers(4, 3))
    shards.local(tensor).zero_()
    assert not shards.gathered(tensor).any()


def test_what_is_spread_is_gathered_again(place: Any) -> None:
    whole, like = numbers(4, 3), place(torch.zeros(4, 3))
    spread = shards.spread(whole, like)
    assert shards.is_sharded(spread) == shards.is_sharded(like)
    assert torch.equal(shards.gathered(spread), whole)


def test_a_local_part_becomes_part_of_its_whole(place: Any) -> None:
    like = place(numbers(4, 3))
    double = shards.part_of(2 * shards.local(like), like)
    assert shards.is_sharded(double) == shards.is_sharded(like)
    assert torch.equal(shards.gathered(double), 2 * numbers(4, 3))


def test_a_formula_of_a_layer_sees_it_whole_and_gives_it_back_as_it_was(place: Any) -> None:
    seen = []

    class Formula:
        @shards.by_layer
        def ranks(self, layer: Tensor) -> Tensor:
            """Ranks of a layer."""
            seen.append(shards.is_sharded(layer))
            return layer.flatten().argsort().argsort().view_as(layer)

    layer = place(numbers(4, 3))
    made = Formula().ranks(layer)
    assert seen == [False] and Formula.ranks.__doc__ == "Ranks of a layer."
    assert shards.is_sharded(made) == shards.is_sharded(layer)
    assert sorted(shards.gathered(made).flatten().tolist()) == list(range(12))


def test_figures_of_parts_are_those_of_the_whole(place: Any) -> None:
    tensors = [place(numbers(4, 3)), place(numbers(5)), numbers(2)]
    rows = [torch.stack([shards.local(t).sum(), shards.local(t).abs().sum()]) for t in tensors]
    made = shards.over_shards(rows, tensors)
    for row, tensor in zip(made, tensors, strict=True):
        whole = shards.gathered(tensor)
        torch.testing.assert_close(row, torch.stack([whole.sum(), whole.abs().sum()]))


def test_what_is_not_zero_is_counted(place: Any) -> None:
    tensor = numbers(4, 3)
    tensor[1:3] = 0.0
    assert shards.count_nonzero([place(tensor), torch.zeros(0)]) == [6, 0]
    assert shards.count_nonzero([]) == []


def test_one_process_agrees_with_itself(place: Any) -> None:
    masks = {"a": place(numbers(4, 3) > 0), "b": numbers(2) > 0}
    shards.check_agreement(masks, masks)


@needs_gloo
def test_what_fsdp2_keeps_gathered_for_the_next_forward_pass_is_freed(place: Any) -> None:
    if not dist.is_initialized():
        return shards.reshard(nn.Linear(3, 2))  # there is nothing to free
    from torch.distributed.fsdp import fully_shard

    net = nn.Linear(3, 2)
    fully_shard(net)
    net.eval()(torch.ones(1, 3))
    net.unshard()
    assert not shards.is_sharded(net.weight)
    shards.reshard(net)
    assert shards.is_sharded(net.weight)
