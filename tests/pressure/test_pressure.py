"""Pressure: exactly once per real step, and nothing else is touched."""

import copy
from collections.abc import Callable

import pytest
import torch
from descent import largest_move, loss, model, train, zeros
from torch import Tensor

from l1prune.pressure.forms import Form, Proximal
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets

Make = Callable[..., torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "for-loop": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
    "tensor-lr": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "centered": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
}
FORMS: list[Form] = [Proximal(), Proximal(OptimizerMetric())]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_step_is_the_optimizers_step_and_one_proximal_map(make: Make, form: Form) -> None:
    free, pressed = model(), model()
    free_optimizer, optimizer = make(free.parameters()), make(pressed.parameters())
    train(free, free_optimizer, 3)
    train(pressed, optimizer, 3)
    Pressure(optimizer, find_targets(pressed), strength=0.05, form=form)
    train(free, free_optimizer, 1)
    train(pressed, optimizer, 1)
    for (name, a), b in zip(free.named_parameters(), pressed.parameters()):
        moved = (a - b).detach()
        if name.endswith("bias"):
            assert torch.equal(a, b)
        else:
            # Every weight moved towards zero, none beyond it; those that reached it are zero.
            assert ((moved * a.sign() >= 0) & (b * a >= 0)).all()
            assert moved.abs().max() > 0
            t = thresholds(free_optimizer, a, 0.05, form)
            assert torch.allclose(b, torch.where(a.abs() > t, a - t * a.sign(), 0.0), atol=1e-7)


def thresholds(
    optimizer: torch.optim.Optimizer, w: Tensor, strength: float, form: Form
) -> Tensor | float:
    """t by the definition: the length of the optimizer's answer to a gradient of size λ."""
    group, state = optimizer.param_groups[0], optimizer.state[w]
    lr = float(group["lr"])
    if form == Proximal():
        return lr * strength
    if isinstance(optimizer, torch.optim.SGD):
        return lr * strength / (1 - group["momentum"])
    if isinstance(optimizer, torch.optim.Adagrad):
        return (
            lr / (1 + (state["step"] - 1) * 0.1) * strength / (state["sum"].sqrt() + group["eps"])
        )
    if isinstance(optimizer, torch.optim.RMSprop):
        variance = state["square_avg"]
        if group["centered"]:
            variance = variance - state["grad_avg"].square()
        return lr * strength / (variance.sqrt() + group["eps"])
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    corrected = second / (1 - group["betas"][1] ** float(state["step"]))
    return lr * strength / (corrected.sqrt() + group["eps"])


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_zero_strength_changes_no_bit(make: Make) -> None:
    free, pressed = model(), model()
    train(free, make(free.parameters()), 5)
    optimizer = make(pressed.parameters())
    Pressure(optimizer, find_targets(pressed), strength=0.0)
    train(pressed, optimizer, 5)
    for a, b in zip(free.parameters(), pressed.parameters()):
        assert torch.equal(a, b)


def test_a_strong_pressure_makes_exact_zeros_that_the_forward_pass_sees() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    Pressure(optimizer, find_targets(net), strength=1.0)
    train(net, optimizer, 40)
    assert zeros(net) > 100


def test_factors_multiply_the_strength() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    Pressure(optimizer, find_targets(net, {"0": 2.0, "2": 0.0}), strength=0.01)
    optimizer.step()
    assert largest_move(before[0], net[0]) == pytest.approx(0.02, rel=1e-3)
    assert torch.equal(before[2].weight, net[2].weight)


def test_each_group_is_pressed_with_its_own_learning_rate() -> None:
    net = model()
    before = copy.deepcopy(net)
    groups = [
        {"params": net[0].parameters(), "lr": 0.1},
        {"params": net[2].parameters(), "lr": 0.3},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    Pressure(optimizer, find_targets(net), strength=0.01)
    optimizer.step()
    assert largest_move(before[0], net[0]) == pytest.approx(0.001, rel=1e-3)
    assert largest_move(before[2], net[2]) == pytest.approx(0.003, rel=1e-3)


def test_a_weight_without_a_gradient_is_not_pressed() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    Pressure(optimizer, find_targets(net), strength=0.1)
    net[0].requires_grad_(False)
    train(net, optimizer, 1)
    assert torch.equal(before[0].weight, net[0].weight)
    assert not torch.equal(before[2].weight, net[2].weight)


def test_a_weight_of_two_optimizers_is_pressed_after_each_ones_step() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizers = [torch.optim.SGD(net.parameters(), lr=lr) for lr in (0.1, 0.2)]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    for optimizer in optimizers:
        Pressure(optimizer, find_targets(net), strength=0.01)
        optimizer.step()
    assert largest_move(before[0], net[0]) == pytest.approx(0.003, rel=1e-3)


def test_a_late_parameter_group_is_pressed_too() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    Pressure(optimizer, find_targets(net), strength=0.1)
    optimizer.add_param_group({"params": net[2].parameters()})
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert not torch.equal(before[2].weight, net[2].weight)


def test_a_fused_step_that_a_scaler_skips_applies_no_pressure() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    pressure = Pressure(optimizer, find_targets(net), strength=1.0)
    scaler.scale(loss(net, 0) * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert pressure.steps == 0
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), net.parameters()))
    optimizer.zero_grad()
    scaler.scale(loss(net, 0)).backward()
    scaler.step(optimizer)
    assert pressure.steps == 1


def test_removed_pressure_is_gone() -> None:
    net, free = model(), model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    Pressure(optimizer, find_targets(net), strength=1.0).remove()
    train(net, optimizer, 2)
    train(free, torch.optim.SGD(free.parameters(), lr=0.1), 2)
    assert all(torch.equal(a, b) for a, b in zip(free.parameters(), net.parameters()))


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_impossible_strengths_are_refused(strength: float) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="strength must be"):
        Pressure(optimizer, find_targets(net), strength=strength)


def test_lbfgs_is_refused_with_the_reason() -> None:
    net = model()
    with pytest.raises(ValueError, match="LBFGS evaluates the model many times"):
        Pressure(torch.optim.LBFGS(net.parameters()), find_targets(net))
