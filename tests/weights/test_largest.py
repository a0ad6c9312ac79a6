"""Selecting the largest units without sorting them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from l1prune.weights import blocks
from l1prune.weights.largest import largest, largest_of_each

# Few different values, so that there are ties; subnormal and infinite ones; −1 for removed units.
VALUES = st.sampled_from(
    [-1.0, -0.0, 0.0, 5e-324, 1e-30, 0.1, 0.5, 1.0, 1.0 + 2**-52, 3e200, float("inf")]
)
LAYERS = st.lists(st.lists(VALUES, min_size=1, max_size=12), min_size=1, max_size=4)
SIZES = st.lists(st.integers(1, 5), min_size=4, max_size=4)
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16])
often = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(params=[(0, 1, 2**18), (2**14, 2**20, 2**18), (8, 15, 4)], ids=str)
def _lengths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Layers by themselves, all of them together, and cut into pieces."""
    for name, length in zip(("SMALL", "LONG", "PIECE"), request.param):
        monkeypatch.setattr(blocks, name, length)
    yield


def by_sorting(values: list[Tensor], sizes: list[int], room: int) -> list[Tensor]:
    flat = torch.cat([v.double() for v in values])
    flat = torch.where(flat.signbit(), -1.0, flat)
    size = torch.cat([torch.full((len(v),), s) for v, s in zip(values, sizes)])
    order = flat.argsort(stable=True)
    mask = torch.empty_like(flat, dtype=torch.bool)
    mask[order] = size[order].flip(0).cumsum(0).flip(0) <= room
    return list(mask.split([len(v) for v in values]))


@pytest.mark.usefixtures("_lengths")
@often
@given(LAYERS, SIZES, st.integers(0, 150), DTYPES)
def test_it_is_what_a_stable_sort_would_take(
    layers: list[list[float]], sizes: list[int], room: int, dtype: torch.dtype
) -> None:
    values = [torch.tensor(layer, dtype=torch.float64).to(dtype) for layer in layers]
    sizes = sizes[: len(values)]
    for ours, theirs in zip(largest(values, sizes, room), by_sorting(values, sizes, room)):
        assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("_lengths")
@often
@given(LAYERS, st.lists(st.integers(0, 13), min_size=4, max_size=4), DTYPES)
def test_of_each_layer_it_is_what_it_is_in_that_layer_alone(
    layers: list[list[float]], counts: list[int], dtype: torch.dtype
) -> None:
    values = [torch.tensor(layer, dtype=torch.float64).to(dtype) for layer in layers]
    found = largest_of_each(values, counts[: len(values)])
    for value, count, ours in zip(values, counts, found):
        assert torch.equal(ours, by_sorting([value], [1], count)[0])


@pytest.mark.usefixtures("_lengths")
@often
@given(LAYERS, st.integers(0, 48), st.randoms(use_true_random=False))
def test_what_comes_first_or_last_does_so_whatever_it_is_worth(
    layers: list[list[float]], room: int, random: object
) -> None:
    values = [torch.tensor(layer, dtype=torch.float64) for layer in layers]
    generator = torch.Generator().manual_seed(int(random.random() * 2**32))  # type: ignore[attr-defined]

    def some() -> list[Tensor | None]:
        masks = [torch.rand(v.shape, generator=generator) < 0.3 for v in values]
        return [mask if i % 3 else None for i, mask in enumerate(masks)]

    last, first = some(), some()
    as_said = [
        value.clone()
        .masked_fill(torch.tensor(False) if low is None else low, -1.0)
        .masked_fill(torch.tensor(False) if high is None else high, math.inf)
        for value, low, high in zip(values, last, first)
    ]
    sizes = [1] * len(values)
    for ours, theirs in zip(
        largest(values, sizes, room, last, first), by_sorting(as_said, sizes, room)
    ):
        assert torch.equal(ours, theirs)


def test_thousands_of_layers_and_a_large_one_are_one_network() -> None:
    torch.manual_seed(0)
    values = [torch.randint(0, 50, (n % 5 + 1,)).float() for n in range(2000)]
    values.insert(700, torch.randint(0, 50, (blocks.SMALL + 9,)).float())
    sizes = [1] * len(values)
    for ours, theirs in zip(largest(values, sizes, 4321), by_sorting(values, sizes, 4321)):
        assert torch.equal(ours, theirs)


def test_masks_have_the_shapes_of_layers_of_any_kind_of_float() -> None:
    torch.manual_seed(0)
    values = [torch.rand(3, 4), torch.rand(5).bfloat16(), torch.rand(2, 1, 6).double()]
    masks = largest(values, [1, 1, 1], 9)
    assert [mask.shape for mask in masks] == [value.shape for value in values]
    assert sum(int(mask.sum()) for mask in masks) == 9
