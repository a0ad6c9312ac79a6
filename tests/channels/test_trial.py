"""Trial: only channels that can be removed are taken for such."""

from __future__ import annotations

import copy

import pytest
import torch
from dead_units import Apply
from networks import NETWORKS, coupled, network
from torch import Tensor, nn

from l1prune.channels.coupling import coupling_of
from l1prune.channels.trial import firm_streams


@pytest.mark.parametrize("name", NETWORKS)
def test_of_usual_networks_all_can(name: str) -> None:
    model, example = network(name)
    before = copy.deepcopy(model.state_dict())
    assert firm_streams(model, coupled(name), example) == {}
    assert all(torch.equal(before[key], now) for key, now in model.state_dict().items())


def test_a_size_that_is_written_down_is_found_by_trying() -> None:
    def call(m: Apply, x: Tensor) -> Tensor:
        y: Tensor = m.tail(torch.relu(m.middle(torch.relu(m.first(x)).view(-1, 96))))
        return y

    torch.manual_seed(0)
    model = Apply(call, first=nn.Conv2d(1, 6, 3), middle=nn.Linear(96, 8), tail=nn.Linear(8, 2))
    example = torch.randn(2, 1, 6, 6)
    coupling = coupling_of(model, example)
    (number, reason), *others = firm_streams(model, coupling, example).items()
    assert not others and coupling.streams[number].numel() == 6
    assert reason.startswith("first.weight: ")


def test_hooks_that_watch_do_not_matter() -> None:
    model, example = network("perceptron")
    model[0].register_forward_hook(lambda *_: None)  # type: ignore[index, operator]
    assert firm_streams(model, coupled("perceptron"), example) == {}
