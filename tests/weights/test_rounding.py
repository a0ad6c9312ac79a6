"""Stochastic rounding."""

import pytest
import torch

from l1prune.weights.bits import HALVES, round_stochastically


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
