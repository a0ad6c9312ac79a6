"""MACs: those of one example, by arithmetic; what is pruned away for good is not counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from l1prune.deploy import compact, macs


@pytest.mark.parametrize("batch", [1, 5])
def test_a_convolution_multiplies_its_filter_at_each_place(batch: int) -> None:
    layer = nn.Conv2d(3, 8, kernel_size=5, padding=2, groups=1)
    assert macs(layer, torch.ones(batch, 3, 10, 12)) == 10 * 12 * 8 * 3 * 5 * 5


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)


def test_attention_is_two_products_whatever_kernel_would_run_it() -> None:
    length, size = 16, 8
    assert macs(Attention(), torch.ones(2, 3, length, size)) == 2 * 3 * length * length * size


def test_norms_and_activations_are_not_counted() -> None:
    model = nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Softmax(-1)).eval()
    assert macs(model, torch.ones(2, 6)) == 0


def test_dead_units_are_counted_until_they_are_gone() -> None:
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4)).eval()
    with torch.no_grad():
        model[2].weight[:, 3:] = 0
    x = torch.ones(2, 6)
    assert macs(model, x) == 100
    assert macs(compact(model, x).model, x) == 30


def test_a_model_that_takes_no_single_example_is_refused() -> None:
    model = nn.Sequential(nn.Unflatten(0, (2, -1)), nn.Linear(4, 4))
    with pytest.raises(ValueError, match="Sequential does not take one example alone"):
        macs(model, torch.ones(2, 4))
