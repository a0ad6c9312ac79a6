"""Heads of attention are channels: pressed, counted and removed as wholes."""

from __future__ import annotations

import torch

from l1prune.channels.coupling import Coupling, coupling_of
from l1prune.channels.units import ChannelUnits, Macs, Parameters
from l1prune.deploy import compact
from l1prune.weights.targets import find_targets
from l1prune.zoo import GPT

WIDTH, HEADS, LENGTH, BATCH = 24, 4, 7, 2
SIZE = WIDTH // HEADS
TOKENS = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH)


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(20, 12, layers=2, width=WIDTH, heads=HEADS)


def units(model: GPT, coupling: Coupling) -> ChannelUnits:
    names = set(coupling.places)
    return ChannelUnits(coupling, [one for one in find_targets(model) if one.name in names])


def test_heads_of_a_block_are_one_stream_of_channels() -> None:
    coupling = coupling_of(gpt(), TOKENS)
    assert [len(stream) for stream in coupling.streams] == [HEADS, 4 * WIDTH, HEADS, 4 * WIDTH]
    (_, rows), (_, biases), (dim, columns) = (
        next(coupling.members(f"blocks.0.attention.{name}"))
        for name in ("qkv.weight", "qkv.bias", "out.weight")
    )
    heads = torch.arange(HEADS).repeat_interleave(SIZE)
    assert torch.equal(columns, heads) and dim == 1
    assert torch.equal(rows, heads.repeat(3)) and torch.equal(biases, rows)


def test_a_head_costs_its_weights_and_its_products() -> None:
    model = gpt()
    coupling = coupling_of(model, TOKENS)
    channels = ChannelUnits(coupling, [])
    assert channels.coupling.count == 0
    everything = torch.ones(1, dtype=torch.bool)
    layers = 2 * (4 * WIDTH * WIDTH + 8 * WIDTH * WIDTH) + 20 * WIDTH
    products = 2 * HEADS * 2 * LENGTH * LENGTH * SIZE
    assert channels.cost(Macs(), everything) == BATCH * (layers * LENGTH + products)


def test_what_is_saved_without_a_head_is_what_compact_saves() -> None:
    model = gpt().eval()
    coupling = coupling_of(model, TOKENS)
    names = list(coupling.places)
    head = coupling.streams[0][1]
    channels = ChannelUnits(coupling, [])
    channels.coupling = coupling.within(names)
    stays = torch.ones(coupling.count + 1, dtype=torch.bool)
    before = {measure: channels.cost(measure, stays) for measure in (Macs(), Parameters())}
    stays[head] = False
    with torch.no_grad():
        for name in names:
            for factor in coupling.factors(name, stays.float()):
                model.get_parameter(name).mul_(factor)
    small = compact(model, TOKENS).model
    assert small.blocks[0].attention.heads == HEADS - 1
    again = ChannelUnits(coupling_of(small, TOKENS), [])
    dense = torch.ones(1, dtype=torch.bool)
    for measure, cost in before.items():
        after = channels.cost(measure, stays)
        assert after == again.cost(measure, dense) < cost
        saved = channels.marginal(measure, torch.ones_like(stays))[head]
        assert int(saved) == cost - after
