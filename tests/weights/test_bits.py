"""Masking by bits; what is held at zero is tested in test_masks."""

from __future__ import annotations

import pytest
import torch

from l1prune.weights.bits import mask_, masked

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
