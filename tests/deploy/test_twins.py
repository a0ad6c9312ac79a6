"""Sizes that are written down in a forward: what depends on them stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dead_units import Apply, gap, with_dead_units
from torch import Tensor, nn

from l1prune.deploy import compact

Linear = nn.Linear


def two_layers(call: Callable[..., Any], hidden: int = 16, **parts: Any) -> nn.Module:
    return Apply(call, first=Linear(6, hidden), second=Linear(hidden, 3), **parts)


def checked(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x)
    assert hidden.shape[1] == 16
    return m.second(hidden.relu())  # type: ignore[no-any-return]


def scaled(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x)
    return m.second(hidden.relu()) / hidden.shape[1]  # type: ignore[no-any-return]


def shuffled(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).sigmoid()
    return m.second(hidden.view(-1, 2, hidden.shape[1] // 2).mT.flatten(1))  # type: ignore[no-any-return]


def written(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).sigmoid().clone()
    hidden[:, 3] = 1.5
    return m.second(hidden)  # type: ignore[no-any-return]


def halves(m: Any, x: Tensor) -> Tensor:
    left, right = m.first(x).split(8, -1)
    return m.second(torch.cat([left * right.sigmoid(), right], -1))  # type: ignore[no-any-return]


def viewed(m: Any, x: Tensor) -> Tensor:
    return m.second(m.first(x).sigmoid().view(-1, 16))  # type: ignore[no-any-return]


def counted(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).sigmoid()
    return m.second(hidden + torch.arange(hidden.shape[1]))  # type: ignore[no-any-return]


def averaged(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).relu()
    return m.second(hidden / torch.tensor(float(hidden.shape[1])))  # type: ignore[no-any-return]


SIZES = [checked, scaled, shuffled, written, halves, viewed, counted, averaged]


@pytest.mark.parametrize("call", SIZES, ids=lambda call: call.__name__)
def test_a_forward_that_holds_a_size_keeps_its_units(call: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = with_dead_units(two_layers(call))
    inputs = (torch.randn(4, 6),)
    compaction = compact(model, inputs)
    assert compaction.report.before == compaction.report.after
    assert gap(model, compaction.model, inputs) == 0
    if compaction.report.refused:
        assert set(compaction.report.refused) == {"first.weight and 2 more"}


def test_other_units_of_such_a_model_go() -> None:
    torch.manual_seed(0)
    model = with_dead_units(
        Apply(
            lambda m, x: m.third(m.second(m.first(x).relu().view(-1, 128)).relu()),
            first=Linear(6, 128),
            second=Linear(128, 32),
            third=Linear(32, 3),
        )
    ).double()
    inputs = (torch.randn(2, 6).double(),)
    compaction = compact(model, inputs)
    assert compaction.model.first.out_features == 128
    assert compaction.model.second.out_features < 32
    assert gap(model, compaction.model, inputs) < 1e-12


def test_a_size_that_follows_the_tensor_is_no_obstacle() -> None:
    torch.manual_seed(0)
    model = two_layers(lambda m, x: m.second((h := m.first(x).relu()).view(-1, h.shape[1]).flip(1)))
    model = with_dead_units(model).double()
    inputs = (torch.randn(2, 6).double(),)
    compaction = compact(model, inputs)
    assert compaction.model.first.out_features < 16
    assert gap(model, compaction.model, inputs) < 1e-12


def test_a_module_of_ones_own_may_write_its_sizes_down() -> None:
    """As the Conv1D of GPT-2 does, whose weight is stored the other way round."""

    class Transposed(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.inputs, self.outputs = inputs, outputs
            self.weight = nn.Parameter(torch.randn(inputs, outputs))
            self.bias = nn.Parameter(torch.randn(outputs))

        def forward(self, x: Tensor) -> Tensor:
            shape = (*x.shape[:-1], self.outputs)
            return torch.addmm(self.bias, x.view(-1, self.inputs), self.weight).view(shape)

    torch.manual_seed(0)
    model = Apply(
        lambda m, x: m.second(F.gelu(m.first(x))), first=Transposed(6, 24), second=Transposed(24, 4)
    )
    model = with_dead_units(model).double()
    inputs = (torch.randn(2, 5, 6).double(),)
    smaller = compact(model, inputs).model
    assert smaller.first.outputs == smaller.second.inputs < 24 and smaller.second.outputs == 4
    assert gap(model, smaller, inputs) < 1e-12
