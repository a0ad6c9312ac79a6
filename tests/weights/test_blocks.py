"""Small layers end to end."""

from __future__ import annotations

import pytest
import torch

from l1prune.weights import blocks
from l1prune.weights.blocks import blocks_of, leaders, split


def test_layers_of_a_kind_are_joined_and_come_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SMALL", 6)
    monkeypatch.setattr(blocks, "LONG", 10)
    torch.manual_seed(0)
    layers = [torch.rand(shape) for shape in [(2, 3), (7,), (1, 2), (4,), (2, 2, 1)]]
    found = blocks_of(layers, ["a", "a", "a", "b", "a"])
    assert [block.layers for block in found] == [(0, 2), (1,), (3,), (4,)]
    again = split(found, [block.values for block in found], layers)
    assert all(torch.equal(one, other) for one, other in zip(layers, again))
    starts = [0, 6, 13, 15, 19]
    for block in found:
        places = block.places(torch.arange(len(block.values)))
        expected = [torch.arange(layers[n].numel()) + starts[n] for n in block.layers]
        assert torch.equal(places, torch.cat(expected))


def test_a_large_layer_is_not_copied() -> None:
    layer = torch.rand(blocks.SMALL + 1)
    (block,) = blocks_of([layer], [None])
    assert block.values.data_ptr() == layer.data_ptr()


@pytest.mark.parametrize("small", [0, 100])
def test_leaders_are_larger_than_all_that_go(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SMALL", small)
    monkeypatch.setattr(blocks, "PIECE", 5)
    torch.manual_seed(0)
    layers = [torch.randint(-1, 9, (n,)).float() for n in (3, 12, 40, 1)]
    masks = [layer > 4 for layer in layers]
    masks[1] = torch.rand(12) < 0.5
    masks[3] = torch.ones(1, dtype=torch.bool)
    for layer, mask, count in zip(layers, masks, leaders(layers, masks)):
        rest = layer[~mask].clamp(min=0).tolist()
        assert count == sum(one > max(rest, default=-1) for one in layer[mask].clamp(min=0))
