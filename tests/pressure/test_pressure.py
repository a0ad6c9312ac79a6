"""Pressure: exactly once per real step, and nothing else is touched."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from l1prune.penalties import L1, L2, ElasticNet
from l1prune.pressure.forms import Form, Proximal
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.pressure.subgradient import Subgradient
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


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def loss(net: nn.Module, seed: int) -> Tensor:
    data = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    return (net(data) - 1).square().mean()


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for seed in range(steps):
        optimizer.zero_grad()
        loss(net, seed).backward()
        optimizer.step()


def zeros(net: nn.Module) -> int:
    return sum(int((p == 0).sum()) for p in net.parameters())


def largest_move(before: nn.Module, after: nn.Module) -> float:
    return (before.weight - after.weight).abs().max().item()


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
    if form == Proximal() or isinstance(optimizer, torch.optim.SGD):
        return lr * strength
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


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_by_default_a_run_minimises_loss_plus_strength_times_penalty(name: str) -> None:
    """Of ½(w − a)² + λ·|w| the minimum is a, soft-thresholded by λ: whatever the optimizer."""
    make = {"AdamW": lambda w, lr: torch.optim.AdamW(w, lr=lr, weight_decay=0.0)}
    a = torch.tensor([[3.0, -1.0, 0.4, -0.2, 0.0]], dtype=torch.float64)
    w = torch.nn.Linear(5, 1, bias=False).double()
    lr = 1.0 if name == "Adagrad" else 0.1  # which slows down by itself
    optimizer = make.get(name, getattr(torch.optim, name))(w.parameters(), lr=lr)
    Pressure(optimizer, find_targets(w), strength=0.5)
    for step in range(2000):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / 2000)
        w.weight.grad = w.weight.detach() - a
        optimizer.step()
    expected = torch.tensor([[2.5, -0.5, 0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(w.weight.detach(), expected, atol=2e-3, rtol=0.0)
    assert int(w.weight.count_nonzero()) == 2


def test_a_strong_pressure_makes_exact_zeros_that_the_forward_pass_sees() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    Pressure(optimizer, find_targets(net), strength=1.0)
    train(net, optimizer, 40)
    assert zeros(net) > 100


def test_the_subgradient_makes_none() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    Pressure(optimizer, find_targets(net), strength=1.0, form=Subgradient())
    train(net, optimizer, 40)
    assert zeros(net) == 0


@pytest.mark.parametrize("penalty", [L1(), L2(), ElasticNet(0.3)], ids=str)
def test_the_subgradient_form_is_the_penalty_in_the_loss(penalty: L1) -> None:
    ours, textbook = model(), model()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    Pressure(optimizer, find_targets(ours), penalty, 0.01, Subgradient())
    train(ours, optimizer, 3)
    other = torch.optim.SGD(textbook.parameters(), lr=0.1)
    for seed in range(3):
        other.zero_grad()
        weights = [t.parameter for t in find_targets(textbook)]
        (loss(textbook, seed) + 0.01 * sum(penalty.value(w) for w in weights)).backward()
        other.step()
    for a, b in zip(ours.parameters(), textbook.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


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


def test_the_subgradient_is_scaled_like_a_fused_optimizers_gradient() -> None:
    scaled, plain = model(), model()
    for net, scaler in ((scaled, torch.amp.GradScaler("cpu")), (plain, None)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
        Pressure(optimizer, find_targets(net), strength=0.01, form=Subgradient())
        if scaler is None:
            loss(net, 0).backward()
            optimizer.step()
        else:
            scaler.scale(loss(net, 0)).backward()
            scaler.step(optimizer)
    for a, b in zip(scaled.parameters(), plain.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


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


def test_an_optimizer_without_a_known_metric_is_refused_with_the_remedy() -> None:
    net = model()
    with pytest.raises(ValueError, match=r"Rprop has no known metric; use Euclidean"):
        Pressure(
            torch.optim.Rprop(net.parameters()),
            find_targets(net),
            form=Proximal(OptimizerMetric()),
        )
