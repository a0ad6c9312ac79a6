"""A switch goes by the size of its input, and what it holds is for inference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from l1prune.deploy.switch import Switch, frozen


def test_a_switch_goes_by_the_size_of_the_input() -> None:
    class Constant(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, input: Tensor) -> Tensor:
            return input.new_tensor(self.value)

    switch = Switch([Constant(1), Constant(2), Constant(3)], [32, 80])
    for shape, expected in (
        ((8,), 1), ((0, 8), 1), ((4, 8), 1), ((5, 8), 2), ((2, 5, 8), 2), ((11, 8), 3)
    ):  # fmt: skip
        assert switch(torch.ones(shape)) == expected


@pytest.mark.parametrize("layer", [nn.Linear(8, 4), nn.Conv1d(8, 4, 1)])
def test_a_frozen_layer_computes_the_same_and_leaves_the_layer_alone(layer: nn.Module) -> None:
    before = {name: weight.clone() for name, weight in layer.named_parameters()}
    twin, x = frozen(layer), torch.ones(3, 8, 8)
    assert torch.equal(twin(x), layer(x))
    assert set(twin.state_dict()) == set(layer.state_dict())
    assert [name for name, _ in twin.named_parameters()] == ["bias"]
    twin.double()
    assert layer.weight.dtype is torch.float32 and layer.weight.requires_grad
    assert torch.equal(layer.weight, before["weight"])


def test_a_copy_runs_its_own_forms() -> None:
    switch = Switch([nn.Linear(8, 4), nn.Linear(8, 4)], [8])
    twin = copy.deepcopy(switch)
    with torch.no_grad():
        for parameter in switch.parameters():
            parameter.zero_()
    for rows in (1, 2):
        assert not switch(torch.ones(rows, 8)).any() and twin(torch.ones(rows, 8)).any()
