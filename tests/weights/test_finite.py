"""Weights that are no numbers are found, wherever they are, and named."""

from __future__ import annotations

import math

import pytest
import torch

from l1prune.checks import DivergenceError
from l1prune.weights.finite import check_finite, first_nan


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.float64])
@pytest.mark.parametrize("size", [3, 100_000])
def test_the_one_that_is_not_finite_is_named(wrong: float, dtype: torch.dtype, size: int) -> None:
    weights = {name: torch.ones(size, dtype=dtype) for name in ("first", "second", "third")}
    check_finite(weights, "before the cut")
    weights["second"][size // 2] = wrong
    with pytest.raises(DivergenceError, match=r"second holds NaN or infinity: .* before the cut"):
        check_finite(weights, "before the cut")


def test_nothing_is_finite() -> None:
    check_finite({}, "before the cut")
    check_finite({"empty": torch.ones(0)}, "before the cut")


def test_the_first_with_nan_is_named_whatever_else_there_is() -> None:
    layers = [torch.tensor([math.inf, -1.0]), torch.empty(0), torch.ones(3, 2)]
    assert first_nan(layers) is None
    layers[2][1, 1] = math.nan
    assert first_nan(layers) == 2
    assert first_nan([]) is None
