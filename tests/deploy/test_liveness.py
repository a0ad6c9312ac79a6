"""Liveness: the units that each kind of operation lets go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dead_units import Apply
from torch import Tensor, nn

from l1prune.deploy import compact

UNNEEDED, SILENT, STEADY = 0, 1, 2  # no output needs it; it is 0; it is another constant


def between(call: Callable[[Tensor], Tensor]) -> nn.Module:
    """Two 1 × 1 convolutions, in their midst three dead channels of eight, and an operation."""
    torch.manual_seed(0)
    model = Apply(lambda m, x: m.out(call(m.first(x))), first=nn.Conv2d(2, 8, 1))
    channels = call(torch.zeros(1, 8, 4, 4)).shape[1]
    model.out = nn.Conv2d(channels, 3, 1)
    with torch.no_grad():
        model.first.bias.fill_(0.5)
        model.first.weight[[SILENT, STEADY]] = 0
        model.first.bias[SILENT] = 0
        model.out.weight[:, UNNEEDED::8] = 0
    return model.eval()


ALL_GO: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "hardswish": F.hardswish,
    "arithmetic": lambda x: 2 * x.square() + 1 - x / 3,
    "conversion": lambda x: x.to(torch.float64).to(torch.float32),
    "choice": lambda x: torch.where(x > 0.1, x, 0.25),
    "clamp": lambda x: x.clamp(-1, 1),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "average pool": lambda x: F.avg_pool2d(x, 2),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "maximum": lambda x: x.amax((2, 3), keepdim=True),
    "larger": lambda x: F.interpolate(x, scale_factor=2),
    "flip": lambda x: x.flip(1, 3),
    "there and back": lambda x: x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2).unsqueeze(-1),
    "crop": lambda x: x[:, :, 1:-1, ::2],
    "twice": lambda x: torch.cat([x, x.tanh()], 1),
    "sum with itself": lambda x: x + x.relu(),
    "stacked": lambda x: torch.stack([x, x], 2).flatten(2, 3),
    "reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
}
ZERO_STAYS_ZERO: dict[str, Callable[[Tensor], Tensor]] = {
    "zero padding": lambda x: F.pad(x, (1, 1, 1, 1)),
    "padded average pool": lambda x: F.avg_pool2d(x, 3, 1, padding=1),
    "sum": lambda x: x.sum((2, 3), keepdim=True),
}


def left(call: Callable[[Tensor], Tensor]) -> tuple[int, Any]:
    compaction = compact(between(call), torch.randn(2, 2, 4, 4))
    assert not compaction.report.refused
    return compaction.model.first.out_channels, compaction.report


@pytest.mark.parametrize("name", ALL_GO)
def test_dead_channels_go_through(name: str) -> None:
    assert left(ALL_GO[name])[0] == 8 - 3


@pytest.mark.parametrize("name", ZERO_STAYS_ZERO)
def test_a_constant_that_the_operation_changes_stays(name: str) -> None:
    assert left(ZERO_STAYS_ZERO[name])[0] == 8 - 2


@pytest.mark.parametrize("kind", [nn.Softmax(1), nn.GroupNorm(4, 8), nn.LocalResponseNorm(2)])
def test_an_operation_that_mixes_channels_keeps_them(kind: nn.Module) -> None:
    assert left(kind)[0] == 8


def test_of_a_stream_a_channel_goes_when_no_branch_and_no_reader_wants_it() -> None:
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: (m.one(h := m.a(x) + m.b(x).relu()), m.two(h.sigmoid())),
        a=nn.Linear(3, 6),
        b=nn.Linear(3, 6),
        one=nn.Linear(6, 2),
        two=nn.Linear(6, 2),
    ).eval()
    with torch.no_grad():
        model.one.weight[:, [0, 1]] = 0
        model.two.weight[:, [0, 2]] = 0  # 0: nobody reads it; 1 and 2: one of two does
        model.a.weight[[3, 4]] = 0
        model.b.weight[[3, 5]] = 0  # 3: constant in both branches; 4 and 5: in one of two
    smaller = compact(model, torch.randn(2, 3)).model
    assert smaller.a.out_features == smaller.b.out_features == 6 - 2
