"""The mean of squared gradients and its root: compiled as by torch, to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from l1prune.cuts.fisher import Fisher
from l1prune.cuts.renewal import SOURCE, Layer, renewed_root, restore_, sums, weighed
from l1prune.pressure.optimizers import Squares
from l1prune.weights.library import SWITCH, library

COUNTS = [1, 7, 64, 100_003]


def squares(count: int, steps: float, dtype: torch.dtype = torch.float32) -> Squares:
    """Of gradients of many sizes, some of which are zero, after so many steps."""
    generator = torch.Generator().manual_seed(count + int(steps))
    x = torch.randn(count, generator=generator) * 10.0 ** -torch.arange(count).fmod(20)
    average = x.square().masked_fill(x > 1.5, 0.0).to(dtype)
    return Squares(average, memory=0.999, steps=steps, share=1 - 0.999)


def overflown(count: int, steps: float) -> Squares:
    """The same, and some are infinite."""
    found = squares(count, steps)
    return replace(found, average=found.average.masked_fill(found.average > 1.5, torch.inf))


def remembered(count: int) -> Fisher:
    """What an earlier cut has left."""
    return Fisher(squares(count, 1.0).total, squares(count, 2.0).total, steps=3.0)


@pytest.mark.skipif(library(SOURCE) is None, reason="no C compiler")
@pytest.mark.parametrize("count", COUNTS)
def test_compiled_it_has_the_bits_of_torch(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    ours, long = renewed_root(overflown(count, 25.0), remembered(count), 1e-8)
    monkeypatch.setenv(SWITCH, "eager")
    theirs, expected = renewed_root(overflown(count, 25.0), remembered(count), 1e-8)
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(long, expected)
    assert ours.steps == theirs.steps


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kernel", ["", "eager"])
def test_a_root_takes_the_place_of_a_total_that_is_restored_to_the_bit(
    count: int, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    now = overflown(count, 25.0)
    for before in (None, remembered(count)):
        fisher, long = renewed_root(now, before, 1e-8)
        assert long.data_ptr() == fisher.total.data_ptr()
        restore_([(fisher, now)])
        assert torch.equal(fisher.total, now.total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_root_is_rounded_to_nearest(dtype: torch.dtype) -> None:
    fisher, long = renewed_root(squares(1000, 10.0, dtype), None, eps=0.0)
    assert long.dtype == dtype
    assert torch.equal(long, fisher.mean.double().sqrt().to(dtype))


def test_where_no_step_was_taken_nothing_changes() -> None:
    first, long = renewed_root(squares(9, 10.0), None, eps=1e-8)
    before = long.clone()
    restore_([(first, squares(9, 10.0))])
    again, same = renewed_root(squares(9, 10.0), first, eps=1e-8)
    assert again is first and torch.equal(before, same)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("exponent", [0.5, 0.7, 1.0])
def test_sums_are_of_wide_numbers(count: int, exponent: float) -> None:
    long, short = squares(count, 1.0).total, squares(count, 2.0).total
    w = torch.randn(count, generator=torch.Generator().manual_seed(0)).relu()
    left = w != 0
    columns = long, short, long[left], long[left].pow(exponent)
    expected = torch.stack([one.double().square().sum() for one in columns])
    layers = [Layer(w, long, short), Layer(w, short, long)]
    assert torch.allclose(sums(layers, exponent)[0], expected, rtol=1e-6)
    strided = [one.repeat_interleave(2)[::2] for one in layers[0]]  # which C cannot read
    assert torch.allclose(sums([Layer(*strided)], exponent)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_weights_weigh_the_same_compiled(
    count: int, exponent: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = squares(count, 1.0).total
    w = torch.randn(count, generator=torch.Generator().manual_seed(0))
    monkeypatch.delenv(SWITCH, raising=False)
    (ours,) = weighed([Layer(w, long.clone(), long)], exponent, [0.3])
    monkeypatch.setenv(SWITCH, "eager")
    (theirs,) = weighed([Layer(w, long.clone(), long)], exponent, [0.3])
    assert torch.equal(ours, theirs)


def test_weights_of_a_wider_kind_are_weighed_in_it() -> None:
    w = torch.tensor([3.0], dtype=torch.float64)
    (worth,) = weighed([Layer(w, four := torch.tensor([4.0]), four)], 0.5, [1.0])
    assert worth.dtype == torch.float64 and worth.item() == 6.0


def test_sums_are_over_the_roots_that_weights_are_weighed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = torch.tensor([1e-8])  # whose root a float32 does not hold
    found = []
    for kernel in ("", "eager"):
        monkeypatch.setenv(SWITCH, kernel)
        found += sums([Layer(torch.ones(1), root, root)], 0.5)
    assert torch.equal(*found)
