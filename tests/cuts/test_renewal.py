"""The mean of squared gradients and its root: compiled as by torch, to the bit."""

from __future__ import annotations

import pytest
import torch

from l1prune.cuts.fisher import Fisher
from l1prune.cuts.renewal import SOURCE, renewed_root, squared
from l1prune.pressure.optimizers import Squares
from l1prune.weights.library import SWITCH, library

COUNTS = [1, 7, 64, 100_003]


def squares(count: int, steps: float, dtype: torch.dtype = torch.float32) -> Squares:
    """Of gradients of many sizes, some of which are zero, after so many steps."""
    generator = torch.Generator().manual_seed(count + int(steps))
    x = torch.randn(count, generator=generator) * 10.0 ** -torch.arange(count).fmod(20)
    return Squares(x.square().masked_fill(x > 1.5, 0.0).to(dtype), memory=0.999, steps=steps)


@pytest.mark.skipif(library(SOURCE) is None, reason="no C compiler")
@pytest.mark.parametrize("count", COUNTS)
def test_compiled_it_has_the_bits_of_torch(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fisher(squares(count, 1.0).total, squares(count, 2.0).total, steps=3.0)
    monkeypatch.delenv(SWITCH, raising=False)
    ours, long = renewed_root(squares(count, 25.0), before, 1e-8)
    monkeypatch.setenv(SWITCH, "eager")
    theirs, expected = renewed_root(squares(count, 25.0), before, 1e-8)
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(long, expected)
    assert ours.steps == theirs.steps and torch.equal(ours.total, theirs.total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_root_is_rounded_to_nearest(dtype: torch.dtype) -> None:
    fisher, long = renewed_root(squares(1000, 10.0, dtype), None, eps=0.0)
    assert long.dtype == dtype
    assert torch.equal(long, fisher.mean.double().sqrt().to(dtype))


def test_where_no_step_was_taken_nothing_changes() -> None:
    first, long = renewed_root(squares(9, 10.0), None, eps=1e-8)
    again, same = renewed_root(squares(9, 10.0), first, eps=1e-8)
    assert again is first and torch.equal(long, same)


@pytest.mark.parametrize("count", COUNTS)
def test_a_sum_of_squares_is_one_of_wide_numbers(count: int) -> None:
    values = squares(count, 1.0).total
    layers = [values, 3 * values]
    for one, layer in zip(squared(layers), layers, strict=True):
        assert torch.allclose(one, layer.double().square().sum(), rtol=1e-14)
    (strided,) = squared([values[::3]])  # which C cannot read
    assert torch.allclose(strided, values[::3].double().square().sum(), rtol=1e-14)
