"""Eager: the reference of all kernels, by the definition."""

from __future__ import annotations

import torch

from l1prune.pressure.kernels.eager import Eager, rounded
from l1prune.pressure.kernels.passes import Pass, Threshold


def test_it_is_the_soft_threshold_in_the_metric_and_then_the_mask() -> None:
    torch.manual_seed(0)
    w, second = torch.randn(1000, dtype=torch.float64), torch.rand(1000, dtype=torch.float64)
    mask = torch.rand(1000) > 0.3
    t = 0.1 / (second.sqrt() / 0.5 + 1e-3)
    expected = torch.where(mask, w.sign() * (w.abs() - t).clamp(min=0), 0.0)
    Eager().run([Pass(w, Threshold(0.1, second, 0.5, 1e-3), mask)])
    torch.testing.assert_close(w, expected, rtol=1e-14, atol=1e-15)


def test_halves_are_rounded_by_the_seed_alone() -> None:
    exact = torch.full((64,), 1 + 2**-9)
    torch.manual_seed(1)
    one, other = (rounded(exact, torch.bfloat16, 7) for _ in range(2))
    assert torch.equal(one, other) and 0 < int((one != 1).sum()) < 64
    assert not torch.equal(one, rounded(exact, torch.bfloat16, 8))
