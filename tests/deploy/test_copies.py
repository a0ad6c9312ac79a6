"""Copies: a model that cannot be copied is refused, and one that remembers is left as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l1prune.channels.coupling import coupling_of
from l1prune.channels.trial import firm_streams
from l1prune.deploy import compact, load_compact, sparse
from l1prune.deploy.copies import shell


class Positions(nn.Module):
    """It keeps a table of what it has computed, as rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 6)
        self.table = torch.zeros(0, 6)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > len(self.table):
            places = torch.arange(x.shape[1])[:, None] * torch.arange(6)
            self.table = places.to(x.dtype).cos()
        y: Tensor = x + self.second(self.first(x + self.table[: x.shape[1]]).relu())
        return y


def positions() -> nn.Module:
    torch.manual_seed(0)
    model = Positions().eval()
    model.first.weight.data[:10] = 0
    model(torch.ones(1, 5, 6))
    return model


@pytest.mark.parametrize("deploy", [compact, sparse])
def test_what_a_forward_keeps_is_not_left_in_the_model(deploy: Callable[..., Any]) -> None:
    model, x = positions(), torch.ones(2, 5, 6)
    table = model.table.clone()
    made = deploy(model, x).model
    assert model.table.dtype == table.dtype and torch.equal(model.table, table)
    for length in (3, 5, 8):
        x = torch.randn(2, length, 6)
        torch.testing.assert_close(made(x), model(x))


def test_a_shell_has_the_parameters_and_its_own_buffers() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin = shell(model)
    twin[1].running_mean.fill_(7)
    assert twin[0].weight is model[0].weight and not model[1].running_mean.any()


def with_a_lock() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    model[0].lock = threading.Lock()
    return model


def with_a_result() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    model.norm = model[0].weight.square().sum()
    return model


@pytest.mark.parametrize("made", [with_a_lock, with_a_result])
def test_what_cannot_be_copied_is_refused_in_a_sentence(made: Callable[[], nn.Module]) -> None:
    model, x = made(), torch.ones(1, 4)
    calls: list[Callable[[], object]] = [
        lambda: compact(model, x),
        lambda: sparse(model, x),
        lambda: load_compact(model, model.state_dict(), x),
        lambda: firm_streams(model, coupling_of(made(), x), x),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"Sequential cannot be copied by copy\.deepcopy"):
            call()
