"""The geometry of a proximal step; test_pressure tests its thresholds through whole steps."""

from typing import Any

import pytest
import torch

from l1prune.pressure.metrics import Euclidean, OptimizerMetric
from l1prune.pressure.optimizers import UpdateRule, update_rule


def test_euclidean_fits_every_optimizer_and_moves_all_weights_alike() -> None:
    w = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Rprop([w])
    Euclidean().check(optimizer)
    assert Euclidean().threshold(optimizer, optimizer.param_groups[0], w, 0.3) == 0.3


def test_a_weight_with_large_gradients_is_pressed_less() -> None:
    w = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1)
    w.grad = torch.tensor([1.0, 100.0])
    optimizer.step()
    t = OptimizerMetric().threshold(optimizer, optimizer.param_groups[0], w, 0.1)
    assert isinstance(t, torch.Tensor)
    assert (t[0] / t[1]).item() == pytest.approx(100, rel=1e-4)


def test_the_optimizers_state_is_not_touched() -> None:
    w = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1)
    w.grad = torch.arange(4.0)
    optimizer.step()
    before = optimizer.state[w]["exp_avg_sq"].clone()
    OptimizerMetric().threshold(optimizer, optimizer.param_groups[0], w, 0.1)
    assert torch.equal(optimizer.state[w]["exp_avg_sq"], before)


def test_an_optimizer_of_the_users_own_can_be_registered() -> None:
    class Mine(torch.optim.SGD):
        pass

    w = torch.zeros(1, requires_grad=True)
    optimizer = Mine([w], lr=0.1)
    OptimizerMetric().check(optimizer)  # as its parent

    class Quarter(UpdateRule):
        def divided(self, amount: Any, group: Any, state: Any) -> Any:
            return amount / 4

    update_rule.register(Mine, lambda optimizer: Quarter())
    threshold = OptimizerMetric().threshold(optimizer, optimizer.param_groups[0], w, 0.2)
    assert threshold == pytest.approx(0.05)
