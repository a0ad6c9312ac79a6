"""The geometry of a proximal step; test_pressure tests its thresholds through whole steps."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("limit", [0, -0.1, "0.1", math.nan])
def test_a_limit_is_a_share_of_a_step(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        OptimizerMetric(limit)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
@pytest.mark.parametrize("whole", [True, False])
def test_no_weight_is_pressed_by_more_than_the_limit(optimizer: Any, whole: bool) -> None:
    """Where gradients are large against λ the metric is as it was, elsewhere it ends at a share."""
    w = nn.Parameter(torch.ones(4))
    made = optimizer([w], lr=0.01)
    w.grad = torch.tensor([1.0, 1e-2, 1e-6, 0.0])
    made.step()
    group = made.param_groups[0]

    def t(metric: OptimizerMetric) -> torch.Tensor:
        if whole:
            return torch.as_tensor(metric.threshold(made, group, w, 0.01 * 1e-4))
        parts = metric.in_pieces(made, group, w, 0.01 * 1e-4)
        return torch.cat([torch.as_tensor(t) for _, t in parts])

    free, limited = t(OptimizerMetric()), t(OptimizerMetric(limit=0.1))
    assert torch.equal(limited, free.clamp(max=0.01 * 0.1))
    assert free[0] < 0.001 < free[-1]


@pytest.mark.parametrize(
    "make",
    [
        torch.optim.Adam,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.Adamax,
        torch.optim.RMSprop,
        torch.optim.Adafactor,
        torch.optim.Adagrad,
        partial(torch.optim.Adagrad, lr_decay=0.01),
    ],
    ids=str,
)
def test_the_limit_is_a_share_of_the_step_that_was_taken(make: Any) -> None:
    """Of a gradient that stays: else pressure outweighs it, whatever it says."""
    w = nn.Parameter(torch.full((2, 2), 5.0))
    made = make([w], lr=0.01)
    group, metric = made.param_groups[0], OptimizerMetric(limit=0.1)
    for step in range(1, 301):
        before = w.detach().clone()
        w.grad = torch.full((2, 2), 1e-4)
        made.step()
        if step in (10, 100, 300):
            moved = (w.detach() - before).abs().max().item()
            most = float(torch.as_tensor(metric.threshold(made, group, w, 0.01 * 100.0)).max())
            assert 0 < most <= 0.1 * moved * 1.2
            if (thresholds := metric.thresholds(made)) is not None:
                assert float(thresholds(0.01 * 100.0, group, w).most) == pytest.approx(most)


def test_steps_that_have_no_length_of_their_own_have_no_limit() -> None:
    w = nn.Parameter(torch.ones(4))
    made = torch.optim.SGD([w], lr=0.01)
    w.grad = torch.ones(4)
    made.step()
    assert OptimizerMetric(limit=0.1).threshold(made, made.param_groups[0], w, 5.0) == 5.0


def test_the_first_steps_of_radam_have_the_limit_too() -> None:
    w = nn.Parameter(torch.ones(2))
    made = torch.optim.RAdam([w], lr=0.01)
    w.grad = torch.full((2,), 1e-4)
    made.step()
    t = OptimizerMetric(limit=0.1).threshold(made, made.param_groups[0], w, 0.01 * 100.0)
    assert torch.as_tensor(t).max().item() == pytest.approx(0.001)
