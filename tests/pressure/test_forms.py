"""Forms: how a penalty enters a step, in the right amount in any type of number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from descent import model, train
from torch import nn
from torch.optim import Optimizer

from l1prune.pressure.forms import Form, Proximal, Step
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets


def using(name: str, lr: float = 0.1, **settings: Any) -> Callable[[Any], Optimizer]:
    return partial(getattr(torch.optim, name), lr=lr, **settings)


LASSO: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": using("SGD"),
    "momentum": using("SGD", lr=0.01, momentum=0.9),
    "Nesterov": using("SGD", lr=0.01, momentum=0.9, nesterov=True),
    "dampening": using("SGD", lr=0.1, momentum=0.9, dampening=0.8),
    "dampening alone": using("SGD", dampening=0.8),  # does nothing
    "Adam": using("Adam"),
    "AdamW": using("AdamW", weight_decay=0.0),
    "RMSprop": using("RMSprop"),
    "RMSprop, momentum": using("RMSprop", lr=0.01, momentum=0.9),
    "Adagrad": using("Adagrad", lr=1.0),  # which slows down by itself
}


@pytest.mark.parametrize("make", LASSO.values(), ids=LASSO)
def test_by_default_a_run_minimises_loss_plus_strength_times_penalty(make: Any) -> None:
    """Of ½(w − a)² + λ·|w| the minimum is a, soft-thresholded by λ: whatever the optimizer."""
    a = torch.tensor([[3.0, -1.0, 0.4, -0.2, 0.0]], dtype=torch.float64)
    w = torch.nn.Linear(5, 1, bias=False).double()
    optimizer = make(w.parameters())
    lr = optimizer.param_groups[0]["lr"]
    Pressure(optimizer, find_targets(w), strength=0.5)
    for step in range(2000):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / 2000)
        w.weight.grad = w.weight.detach() - a
        optimizer.step()
    expected = torch.tensor([[2.5, -0.5, 0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(w.weight.detach(), expected, atol=2e-3, rtol=0.0)
    assert int(w.weight.count_nonzero()) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("amount", [1e-3, 1e-5])
def test_halves_shrink_by_the_right_amount_in_the_mean(dtype: torch.dtype, amount: float) -> None:
    layer = nn.Linear(200, 200, bias=False, dtype=dtype)
    layer.weight.data.fill_(0.75)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    Pressure(optimizer, find_targets(layer), strength=amount)
    layer.weight.grad = torch.zeros_like(layer.weight)
    for _ in range(20):
        optimizer.step()
    lost = 0.75 - layer.weight.double().mean().item()
    assert lost == pytest.approx(20 * amount, rel=0.25)


def test_halves_leave_the_users_random_stream_alone_and_repeat_themselves() -> None:
    made = []
    for _ in range(2):
        net = model().to(torch.bfloat16)
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        Pressure(optimizer, find_targets(net), strength=1e-4)
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        torch.manual_seed(3)
        for _ in range(5):
            optimizer.step()
        made.append((net[0].weight.clone(), torch.rand(1)))
    torch.manual_seed(3)
    assert torch.equal(made[0][0], made[1][0])
    assert made[0][1] == made[1][1] == torch.rand(1)


def test_an_optimizer_without_a_known_metric_is_refused_with_the_remedy() -> None:
    net = model()
    with pytest.raises(ValueError, match=r"Rprop has no known metric; leave the form out"):
        Pressure(
            torch.optim.Rprop(net.parameters()),
            find_targets(net),
            form=Proximal(OptimizerMetric()),
        )


# ---- one of the user's own


class Own(Form):
    """Notes the steps that it is given."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def check(self, optimizer: torch.optim.Optimizer) -> None:
        return

    def after(self, step: Step) -> None:
        self.steps.append(step)


def test_a_form_of_the_users_own_gets_each_weight_that_each_step_moves() -> None:
    net, form = model(), Own()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    targets = find_targets(net, {"0": 2.0, "2": 1.0})
    Pressure(optimizer, targets, strength=0.1, form=form)
    train(net, optimizer, 3)
    assert [step.target.name for step in form.steps] == ["0.weight", "2.weight"] * 3
    assert [step.strength for step in form.steps] == [0.2, 0.1] * 3
    assert all(step.parameter is step.target.parameter for step in form.steps)
    assert all(step.optimizer is optimizer and step.separable for step in form.steps)
    assert len({step.seed for step in form.steps}) == 6
    assert form.makes_zeros and form.attach(optimizer, lambda _: iter(())) == []


@pytest.mark.parametrize("metric", ["euclidean", OptimizerMetric, None])
def test_what_is_no_metric_is_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match="metric must be an object as Euclidean"):
        Proximal(metric)
