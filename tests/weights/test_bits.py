"""Bits: masked, packed and rounded."""

from __future__ import annotations

import pytest
import torch

from l1prune.weights.bits import HALVES, mask_, masked, pack, round_stochastically, unpack

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_masked_copy_is_what_masking_in_place_makes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    w, mask = torch.randn(30, 40).to(dtype), torch.rand(30, 40) < 0.5
    before = w.clone()
    copy = masked(w, mask)
    assert torch.equal(w, before)
    assert torch.equal(copy, mask_(w, mask))
    assert torch.equal(copy, torch.where(mask, before, 0.0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, -1.0])
def test_whatever_was_there_becomes_positive_zero(value: float) -> None:
    made = masked(torch.full((5,), value), torch.zeros(5, dtype=torch.bool))
    assert not made.any() and not made.signbit().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(400, 500), (0, 3), (7, 1)])
def test_masking_keeps_every_other_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    w, mask = torch.randn(shape).to(dtype), torch.rand(shape) < 0.5
    for layout in (w.clone(), w.clone().T):
        stay = mask if layout.shape == mask.shape else mask.T
        expected = layout.masked_fill(~stay, 0.0)
        assert torch.equal(mask_(layout, stay), expected)


def test_masking_works_in_any_memory_format() -> None:
    torch.manual_seed(0)
    w = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    mask = torch.rand(4, 3, 2, 2) < 0.5
    assert torch.equal(mask_(w.clone(), mask), w.masked_fill(~mask, 0.0))


@pytest.mark.parametrize("shape", [(3, 5), (8,), (4, 4), (1,), (0,), (2, 3, 7)])
def test_packing_loses_nothing_and_takes_a_bit_per_weight(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    mask = torch.rand(shape) < 0.5
    packed = pack(mask)
    assert torch.equal(unpack(packed, shape), mask)
    assert packed.numel() == -(-mask.numel() // 8)
    assert packed.dtype == torch.uint8


# ---- stochastic rounding


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-7, 100.0])
def test_a_value_goes_to_one_of_its_two_neighbours_and_stays_in_the_mean(
    dtype: torch.dtype, scale: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    exact = (torch.rand(1, generator=generator) * scale).expand(20_000)
    exact = torch.cat([exact, -exact])
    rounded = round_stochastically(exact, dtype, generator).float()
    assert len(set(rounded.tolist())) <= 4
    gap = (rounded.abs().max() - rounded.abs().min()).item()
    assert (rounded - exact).abs().max().item() <= gap + 1e-12
    assert rounded.abs().mean().item() == pytest.approx(
        exact.abs().mean().item(), abs=0.02 * gap + 1e-12
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_what_the_type_can_hold_stays_as_it_is(dtype: torch.dtype) -> None:
    held = torch.tensor([0.0, -0.0, 1.0, -1.5, 3e-5, 1024.0]).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert torch.equal(round_stochastically(held.float(), dtype, generator), held)
