"""Numbers: whatever may count what has gone is named, and no more than that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l1prune.deploy import compact, load_compact
from l1prune.zoo import GPT


class Core(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """It is told how many heads it has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"qkv": nn.Linear(16, 48), "out": nn.Linear(16, 16)})

    def forward(self, x: Tensor, heads: int) -> Tensor:
        q, k, v = self.layers["qkv"](x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.layers["out"](y)  # type: ignore[no-any-return]


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = 4
        self.body = nn.ModuleDict({"blocks": nn.ModuleList([Block(), Block()])})

    def forward(self, x: Tensor) -> Tensor:
        for block in self.body["blocks"]:
            x = block(x, self.heads)
        return x


def beside() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 48), Core(4), nn.Linear(16, 16)).eval()


def at_the_root() -> nn.Module:
    return Root().eval()


@pytest.mark.parametrize(("made", "number"), [(beside, r"1\.heads=4"), (at_the_root, r" heads=4")])
def test_heads_are_found_wherever_they_are_counted(
    made: Callable[[], nn.Module], number: str
) -> None:
    torch.manual_seed(0)
    model, x = made(), torch.randn(2, 3, 16)
    for name, weight in model.named_parameters():
        if name in ("2.weight",) or name.endswith("out.weight"):
            weight.data[:, :8] = 0
    small = compact(model, x).model
    with pytest.raises(ValueError, match=number + " may count"):
        load_compact(made(), small.state_dict())
    loaded = load_compact(made(), small.state_dict(), x)
    torch.testing.assert_close(loaded(x), model(x))


def test_numbers_that_no_block_is_told_are_none_of_its_business() -> None:
    """Of 12 positions and 4 heads neither can count units of MLPs, though both divide them."""
    model = GPT(20, 12, layers=2, width=24, heads=4).eval()
    for block in model.blocks:
        block.mlp[2].weight.data[:, :48] = 0
    tokens = torch.arange(14).view(2, 7)
    small = compact(model, tokens).model
    fresh = load_compact(GPT(20, 12, layers=2, width=24, heads=4).eval(), small.state_dict())
    assert torch.equal(fresh(tokens), small(tokens))


def test_a_pool_between_layers_counts_no_channels() -> None:
    def made() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1)).eval()

    model, x = made(), torch.randn(2, 3, 9, 9)
    model[2].weight.data[:, :4] = 0
    small = compact(model, x).model
    assert torch.equal(load_compact(made(), small.state_dict())(x), small(x))
