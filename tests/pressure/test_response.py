"""Response: an optimizer that nobody knows is pressed as the Adam that takes steps as long."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from descent import model, train, zeros
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Muon, Optimizer, RMSprop, Rprop

from l1prune import GroupL1
from l1prune.pressure.forms import Proximal
from l1prune.pressure.gradients import Gradients
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.pressure.response import DefaultForm, Responding, Response
from l1prune.weights.targets import find_targets


class Unknown(Optimizer):
    """Of no kind that is known; each weight has a memory of its own."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    w.sub_(group["lr"] * self.direction(w.grad, self.state[w]))

    def direction(self, gradient: Tensor, memory: dict[str, Any]) -> Tensor:
        raise NotImplementedError


class Lion(Unknown):
    def direction(self, gradient: Tensor, memory: dict[str, Any]) -> Tensor:
        momentum = memory.setdefault("momentum", torch.zeros_like(gradient))
        sign = (0.9 * momentum + 0.1 * gradient).sign()
        momentum.lerp_(gradient, 0.01)
        return sign


class OwnAdam(Unknown):
    def direction(self, gradient: Tensor, memory: dict[str, Any]) -> Tensor:
        if not memory:
            memory.update(m=torch.zeros_like(gradient), v=torch.zeros_like(gradient), n=0)
        m, v = memory["m"].lerp_(gradient, 0.1), memory["v"]
        v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        memory["n"] += 1
        root = (v / (1 - 0.999 ** memory["n"])).sqrt()
        return m / (1 - 0.9 ** memory["n"]) / (root + 1e-8)


class OwnMomentum(Unknown):
    def direction(self, gradient: Tensor, memory: dict[str, Any]) -> Tensor:
        momentum: Tensor = memory.setdefault("momentum", torch.zeros_like(gradient))
        return momentum.mul_(0.9).add_(gradient)


# ---- which form


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop, Adagrad])
def test_the_default_is_the_optimizers_own_metric(make: Any) -> None:
    optimizer = make(model().parameters(), lr=0.1)
    assert DefaultForm().of(optimizer) == Proximal(OptimizerMetric())


@pytest.mark.parametrize("make", [Lion, Rprop])
def test_where_it_is_not_known_it_goes_by_the_response_without_a_word(make: Any) -> None:
    net = model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pressure = Pressure(make(net.parameters(), lr=0.01), find_targets(net))
    assert isinstance(pressure.form, Responding)


# ---- how strongly


@pytest.mark.parametrize(("strength", "limit"), [(0.01, math.inf), (1.0, 0.3)])
def test_an_adam_that_is_not_known_is_pressed_as_one_that_is(strength: float, limit: float) -> None:
    nets = [model(), model()]
    for make, net in zip((Adam, OwnAdam), nets, strict=True):
        optimizer = make(net.parameters(), lr=0.01)
        default = DefaultForm(limit=limit)
        Pressure(optimizer, find_targets(net), strength=strength, default=default)
        train(net, optimizer, 30)
    for known, unknown in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(unknown, known, rtol=1e-3, atol=1e-5)
    assert zeros(nets[0]) == zeros(nets[1]) > 0


TARGET = (3.0, -1.0, 0.4, 0.0)
STRENGTH = 0.5


def shifts(make: Callable[[Any], Optimizer], noise: float) -> Tensor:
    """By how much of λ large weights are shrunk: of Σ½h(w − a)² + λ·|w| each by λ/h."""
    torch.manual_seed(0)
    layer, slope = nn.Linear(32, 32, bias=False), 1e-2
    a = torch.tensor(TARGET).repeat(32 * 8)[torch.randperm(32 * 32)].view(32, 32)
    layer.weight.data = a + torch.randn(32, 32)
    optimizer = make(layer.parameters())
    Pressure(optimizer, find_targets(layer), strength=slope * STRENGTH)
    lr, mean, steps = optimizer.param_groups[0]["lr"], torch.zeros(32, 32), 1000
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        w = layer.weight.detach()
        layer.weight.grad = slope * (w - a + noise * torch.randn(32, 32))
        optimizer.step()
        mean += (step >= 0.8 * steps) * w / (0.2 * steps)
    return torch.stack([(v - mean[a == v].mean()).abs() for v in TARGET[:2]]) / STRENGTH


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize(
    ("make", "least", "most"),
    [
        (partial(OwnAdam, lr=0.02), 0.95, 1.05),
        (partial(OwnMomentum, lr=2.0), 0.9, 1.1),
        (partial(Lion, lr=0.006), 0.6, 1.25),
        (partial(Muon, lr=0.05, weight_decay=0.0), 0.8, 1.4),
        (partial(Muon, lr=0.03, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"), 0.8, 1.4),
    ],
    ids=["Adam", "momentum", "Lion", "Muon", "Muon as long as AdamW"],
)
def test_strength_keeps_its_meaning(make: Any, least: float, most: float, noise: float) -> None:
    """It is lr·λ in the Euclidean metric that is off by orders of magnitude: see below."""
    found = shifts(make, noise)
    assert least < found.min() and found.max() < most


def test_a_gradient_of_another_size_changes_nothing_for_steps_that_do_not_know_it() -> None:
    """Lion steps alike if loss and λ are scaled; lr·λ would not be."""
    nets = [model(), model()]
    for scale, net in zip((1.0, 2.0**-6), nets, strict=True):
        optimizer = Lion(net.parameters(), lr=0.01)
        Pressure(optimizer, find_targets(net), strength=0.1 * scale)
        for seed in range(20):
            optimizer.zero_grad()
            source = torch.Generator().manual_seed(seed)
            for w in net.parameters():
                w.grad = scale * torch.randn(w.shape, generator=source)
            optimizer.step()
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=2e-4)
    assert zeros(nets[0]) > 0


def test_units_are_pressed_too() -> None:
    net = model()
    optimizer = Lion(net.parameters(), lr=0.01)
    Pressure(optimizer, find_targets(net), GroupL1(), strength=1.0)
    train(net, optimizer, 20)
    assert bool((net[0].weight == 0).all(1).any())


# ---- when there is nothing to go by


def test_a_weight_that_did_not_move_is_not_pressed() -> None:
    net = model()
    before = copy.deepcopy(net)
    optimizer = Lion(net.parameters(), lr=0.0)
    Pressure(optimizer, find_targets(net), strength=1.0)
    train(net, optimizer, 3)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), net.parameters()))


def test_a_layer_without_gradients_now_is_not_pressed_away_at_once() -> None:
    """Its m is gone after some hundred steps; Lion's steps are as long as ever."""
    layer = nn.Linear(8, 8, bias=False)
    optimizer = Lion(layer.parameters(), lr=1e-3)
    Pressure(optimizer, find_targets(layer), strength=1e-3)
    for step in range(200):
        layer.weight.grad = torch.randn(8, 8) * (step < 50)
        before = layer.weight.detach().clone()
        optimizer.step()
        assert (layer.weight - before).abs().max() < 2.5e-3


def test_halves_and_doubles_are_pressed_as_floats_are() -> None:
    found = {}
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        torch.manual_seed(0)
        layer = nn.Linear(64, 64, bias=False).to(dtype)
        layer.weight.data.fill_(0.75)
        optimizer = Lion(layer.parameters(), lr=2.0**-6)  # which all have
        metric = Response(Gradients())
        source = torch.Generator().manual_seed(0)
        for _ in range(5):
            layer.weight.grad = torch.randn(64, 64, generator=source).to(dtype)
            metric.look(optimizer, optimizer.param_groups[0], layer.weight)
            optimizer.step()
        t = metric.threshold(optimizer, optimizer.param_groups[0], layer.weight, 0.01)
        assert isinstance(t, Tensor)
        found[dtype] = t.double().mean().item()
    assert found[torch.float64] == pytest.approx(found[torch.float32], rel=1e-5)
    assert found[torch.bfloat16] == pytest.approx(found[torch.float32], rel=0.05)
