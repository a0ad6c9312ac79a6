"""What is known of each kind of optimizer, checked against the steps that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import (
    SGD,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)

from l1prune import L1, OptimizerMetric, Pressure, Proximal, Saliency, find_targets
from l1prune.pressure.optimizers import divisor, update_rule

Make = Callable[[Any], Optimizer]
RATE = 1e-3

# Without momentum a step is the fresh gradient's alone.
WITHOUT_MOMENTUM: dict[str, Make] = {
    "SGD": lambda w: SGD(w, lr=RATE),
    "Adam": lambda w: Adam(w, lr=RATE, betas=(0.0, 0.99)),
    "Adam, amsgrad": lambda w: Adam(w, lr=RATE, betas=(0.0, 0.99), amsgrad=True),
    "AdamW": lambda w: AdamW(w, lr=RATE, betas=(0.0, 0.99), weight_decay=0.0),
    "NAdam": lambda w: NAdam(w, lr=RATE, betas=(0.0, 0.99)),
    "RAdam": lambda w: RAdam(w, lr=RATE, betas=(0.0, 0.99), eps=1e-3),
    "Adamax": lambda w: Adamax(w, lr=RATE, betas=(0.0, 0.9)),
    "RMSprop": lambda w: RMSprop(w, lr=RATE),
    "RMSprop, centered": lambda w: RMSprop(w, lr=RATE, centered=True),
    "Adagrad": lambda w: Adagrad(w, lr=RATE, lr_decay=0.1),
    "Adafactor": lambda w: Adafactor(w, lr=RATE),
    "Adafactor, late": lambda w: Adafactor(w, lr=0.5, d=1.01, eps=(1e-2, 1e-3)),
}
SHAPES = [(6, 5), (3, 4, 2, 2), (7,)]


def gradients(shape: tuple[int, ...], count: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(shape, dtype=torch.float64, generator=generator) + 0.1
    for _ in range(count):
        yield scale * torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", WITHOUT_MOMENTUM)
def test_the_metric_is_what_a_step_divides_a_fresh_gradient_by(
    name: str, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    w = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    optimizer = WITHOUT_MOMENTUM[name]([w])
    for gradient in gradients(shape, 12):
        before, w.grad = w.detach().clone(), gradient
        optimizer.step()
        after = w.detach().clone()
        w.data.copy_(before)  # by whose size Adafactor's step went
        group = optimizer.param_groups[0]
        t = OptimizerMetric().threshold(optimizer, group, w, group["lr"])
        torch.testing.assert_close(before - after, t * gradient, rtol=1e-6, atol=1e-12)
        w.data.copy_(after)


WITH_MOMENTUM: dict[str, Make] = {
    "NAdam": lambda w: NAdam(w, lr=RATE),
    "RAdam": lambda w: RAdam(w, lr=RATE),
    "Adamax": lambda w: Adamax(w, lr=RATE),
    "AdamW": lambda w: AdamW(w, lr=RATE, weight_decay=0.0),
    "SGD": lambda w: SGD(w, lr=RATE, momentum=0.9),
    "SGD, dampening": lambda w: SGD(w, lr=RATE, momentum=0.9, dampening=0.5),
    "SGD, Nesterov": lambda w: SGD(w, lr=RATE, momentum=0.9, nesterov=True),
    "RMSprop": lambda w: RMSprop(w, lr=RATE, alpha=0.9, momentum=0.9),
}


@pytest.mark.parametrize("make", WITH_MOMENTUM.values(), ids=WITH_MOMENTUM)
def test_with_momentum_it_is_so_where_gradients_stay_as_they_are(make: Make) -> None:
    w = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    w.grad = torch.tensor([3.0, -1.0, 0.1, -0.01, 1e-4], dtype=torch.float64)
    optimizer = make([w])
    for _ in range(300):
        before = w.detach().clone()
        optimizer.step()
    move = (before - w.detach()) / w.grad
    group = optimizer.param_groups[0]
    t = OptimizerMetric().threshold(optimizer, group, w, group["lr"])
    torch.testing.assert_close(move, torch.as_tensor(t).expand(5).double(), rtol=1e-3, atol=0.0)


def test_radam_does_not_divide_before_it_is_rectified() -> None:
    w = nn.Parameter(torch.zeros(2))
    w.grad = torch.tensor([1.0, 100.0])
    optimizer = RAdam([w], lr=RATE)
    for step in range(1, 8):
        optimizer.step()
        divides = divisor(optimizer, optimizer.param_groups[0], w) is not None
        assert divides == (step > 5)


def test_a_large_matrix_of_adafactor_is_pressed_as_a_small_one() -> None:
    """Its rows and columns are not cut into the pieces that weights are."""
    torch.manual_seed(0)
    model = nn.Linear(1, 200_000, bias=False)
    optimizer = Adafactor(model.parameters(), lr=RATE)
    model.weight.grad = torch.randn_like(model.weight)
    before = model.weight.detach().clone()
    optimizer.step()
    group = optimizer.param_groups[0]
    t = OptimizerMetric().threshold(optimizer, group, model.weight, group["lr"] * 0.1)
    expected = L1().prox_(model.weight.detach().clone(), t)
    model.weight.data = before
    again = Adafactor(model.parameters(), lr=RATE)
    Pressure(again, find_targets(model), strength=0.1)
    again.step()
    torch.testing.assert_close(model.weight.detach(), expected)


def test_a_subclass_of_sgd_with_a_momentum_of_its_own_has_no_known_metric() -> None:
    class Own(SGD):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for w in self.param_groups[0]["params"]:
                self.state[w]["velocity"] = w.grad.clone()

    layer = nn.Linear(2, 2, bias=False)
    optimizer = Own(layer.parameters(), lr=0.1, momentum=0.9)
    layer.weight.grad = torch.ones(2, 2)
    optimizer.step()
    with pytest.raises(ValueError, match="Own has no known metric"):
        OptimizerMetric().threshold(optimizer, optimizer.param_groups[0], layer.weight, 0.1)


@pytest.mark.parametrize("make", [NAdam, RAdam, Adamax, Adafactor])
def test_saliency_goes_by_what_they_remember(make: Any) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    optimizer = make(layer.parameters(), lr=0.0)
    targets, saliency = find_targets(layer), Saliency(shrinkage=0.0)
    scales = torch.tensor([1.0, 10.0, 0.1, 3.0])
    for _ in range(200):
        layer.weight.grad = torch.randn(3, 4) * scales
        optimizer.step()
    saliency.check([optimizer])
    (worth,) = saliency.weigh(targets, [optimizer])
    found = (worth / layer.weight).abs().mean(0)
    torch.testing.assert_close(found / found[0], scales, rtol=0.35, atol=0.0)


@pytest.mark.parametrize("make", [Muon, Rprop])
def test_of_what_a_step_makes_of_gradients_in_another_way_no_metric_is_known(make: Any) -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = make(layer.parameters())
    assert update_rule(optimizer) is None
    with pytest.raises(ValueError, match="has no known metric; leave the form out"):
        Pressure(optimizer, find_targets(layer), form=Proximal(OptimizerMetric()))
    assert Pressure(optimizer, find_targets(layer), form=Proximal()).form == Proximal()


def test_torchaos_adam_is_known_by_its_name() -> None:
    base = type("_AdamBase", (Optimizer,), {"__module__": "torchao.optim.adam"})
    optimizer = type("AdamW8bit", (base,), {})([nn.Parameter(torch.zeros(1))], {"lr": 0.1})
    rule = update_rule(optimizer)
    assert rule is not None and rule.adaptive
