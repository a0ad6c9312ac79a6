"""Selection where one process holds all units; test_largest compares it with a stable sort."""

from __future__ import annotations

import pytest
import torch

from l1prune.weights import flat
from l1prune.weights.flat import is_here, largest_here, largest_of_each_here
from l1prune.weights.library import SWITCH


def test_units_elsewhere_are_not_here() -> None:
    assert is_here([torch.ones(1), torch.ones(2)])
    assert not is_here([])
    assert not is_here([torch.ones(1), torch.ones(1, device="meta")])


@pytest.mark.parametrize("small", [0, 2**14])
def test_large_layers_by_themselves_are_small_ones_together(
    small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layers = [torch.randint(-1, 9, (n,)).float() for n in (5, 0, 300, 1, 40)]
    counts = [2, 0, 17, 1, 40]
    monkeypatch.setattr(flat, "SMALL", small)
    monkeypatch.setenv(SWITCH, "eager")
    for layer, count, mask in zip(layers, counts, largest_of_each_here(layers, counts)):
        expected = torch.zeros(len(layer), dtype=torch.bool)
        ranked = torch.where(layer < 0, -1.0, layer).argsort(stable=True)
        expected[ranked[len(layer) - count :]] = True
        assert torch.equal(mask, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_it_waits_for_nothing_and_takes_the_same() -> None:
    torch.manual_seed(0)
    layers = [torch.randint(-1, 9, (n,)).float() for n in (500, 30_000)]
    there = [layer.cuda() for layer in layers]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = largest_here(there, 7000, (), ())
        of_each = largest_of_each_here(there, [20, 3000])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, theirs in zip(found, largest_here(layers, 7000, (), ())):
        assert torch.equal(ours.cpu(), theirs)
    for ours, theirs in zip(of_each, largest_of_each_here(layers, [20, 3000])):
        assert torch.equal(ours.cpu(), theirs)
