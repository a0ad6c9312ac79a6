"""Selecting the largest units without sorting them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from l1prune.weights.largest import largest

# Few different values, so that there are ties; subnormal and infinite ones; −1 for removed units.
VALUES = st.sampled_from(
    [-1.0, 0.0, 5e-324, 1e-30, 0.1, 0.5, 1.0, 1.0 + 2**-52, 3e200, float("inf")]
)
LAYERS = st.lists(st.lists(VALUES, min_size=1, max_size=12), min_size=1, max_size=4)


def by_sorting(values: list[Tensor], sizes: list[int], room: int) -> list[Tensor]:
    flat = torch.cat(values)
    size = torch.cat([torch.full((len(v),), s) for v, s in zip(values, sizes)])
    order = flat.argsort(stable=True)
    mask = torch.empty_like(flat, dtype=torch.bool)
    mask[order] = size[order].flip(0).cumsum(0).flip(0) <= room
    return list(mask.split([len(v) for v in values]))


@given(LAYERS, st.lists(st.integers(1, 5), min_size=4, max_size=4), st.integers(0, 150))
def test_it_is_what_a_stable_sort_would_take(
    layers: list[list[float]], sizes: list[int], room: int
) -> None:
    values = [torch.tensor(layer, dtype=torch.float64) for layer in layers]
    sizes = sizes[: len(values)]
    for ours, theirs in zip(largest(values, sizes, room), by_sorting(values, sizes, room)):
        assert torch.equal(ours, theirs)


def test_masks_have_the_shapes_of_layers_of_any_kind_of_float() -> None:
    torch.manual_seed(0)
    values = [torch.rand(3, 4), torch.rand(5).bfloat16(), torch.rand(2, 1, 6).double()]
    masks = largest(values, [1, 1, 1], 9)
    assert [mask.shape for mask in masks] == [value.shape for value in values]
    assert sum(int(mask.sum()) for mask in masks) == 9
