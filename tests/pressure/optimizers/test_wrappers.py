"""Optimizers around optimizers: which one is asked, and when its step is over."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import (
    SGD,
    Adam,
    Optimizer,
)

from l1prune import L1, OptimizerMetric, Pressure, Proximal, Saliency, find_targets
from l1prune.pressure.optimizers import before_steps, innermost
from l1prune.training.hooks import HoldWithin


class Accelerated(Optimizer):
    """As Accelerate's: never initialised, and steps on some calls only."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.calls = optimizer, 0

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.optimizer.state

    def step(self, closure: Any = None) -> None:
        self.calls += 1
        if self.calls % 2 == 0:
            self.optimizer.step()


class Lookahead(Optimizer):
    """Moves the weights once more after the steps of the one within."""

    def __init__(self, optimizer: Optimizer, every: int = 2) -> None:
        super().__init__(optimizer.param_groups, {})
        self.fast, self.every, self.calls = optimizer, every, 0
        self.slow = [w.detach().clone() for w in self.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.fast.step()
        self.calls += 1
        if self.calls % self.every == 0:
            for w, slow in zip(self.param_groups[0]["params"], self.slow):
                w.copy_(slow.lerp_(w, 0.5))


class Duck:
    """Not even an optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._inner = optimizer

    def step(self) -> None:
        self._inner.step()


class Bare(Optimizer):
    """Never initialised, and holds no other."""

    def __init__(self, params: Any) -> None:
        self.param_groups = [{"params": list(params), "lr": 0.1}]
        self.state = {}  # type: ignore[assignment]

    def step(self, closure: Any = None) -> None:
        return


def layer_with_gradient() -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, bias=False)
    layer.weight.grad = torch.randn(5, 6)
    return layer


@pytest.mark.parametrize("wrap", [Accelerated, Duck, lambda o: Duck(Accelerated(o))])
def test_in_a_wrapper_without_hooks_the_real_steps_are_pressed(wrap: Any) -> None:
    layer, plain = layer_with_gradient(), layer_with_gradient()
    wrapper, adam = wrap(Adam(layer.parameters())), Adam(plain.parameters())
    pressure = Pressure(wrapper, find_targets(layer), strength=0.01)
    Pressure(adam, find_targets(plain), strength=0.01)
    for _ in range(4):
        wrapper.step()
    for _ in range(pressure.steps):
        adam.step()
    assert pressure.steps in (2, 4)
    assert pressure.form == Proximal(OptimizerMetric())
    assert torch.equal(layer.weight, plain.weight)
    pressure.remove()
    for _ in range(2):
        wrapper.step()
    assert pressure.steps in (2, 4)


def test_a_wrapper_that_moves_weights_itself_is_pressed_and_masked_after_it() -> None:
    layer = layer_with_gradient()
    targets = find_targets(layer)
    wrapper = Lookahead(Adam(layer.parameters(), lr=0.1))
    masks = {"weight": torch.rand(5, 6) < 0.5}
    pressure = Pressure(wrapper, targets, strength=0.01, masks=masks)
    for _ in range(4):
        before = layer.weight.detach().clone()
        wrapper.step()
        assert not torch.equal(layer.weight, before)
        assert not layer.weight[~masks["weight"]].any()
    assert pressure.steps == 4 and pressure.form == Proximal(OptimizerMetric())
    pressure.remove()
    wrapper.step()
    wrapper.step()
    assert layer.weight[~masks["weight"]].any()


def test_steps_that_are_taken_past_the_wrapper_are_pressed_too() -> None:
    """As those of a SAM whose two halves are called one by one."""
    layer = layer_with_gradient()
    wrapper = Lookahead(SGD(layer.parameters(), lr=0.1))
    pressure = Pressure(wrapper, find_targets(layer), strength=10.0)
    wrapper.fast.step()
    assert pressure.steps == 1 and not layer.weight.any()


def test_each_of_several_within_is_pressed_for_its_own_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))

    class Both(Optimizer):
        def __init__(self, one: Optimizer, other: Optimizer) -> None:
            super().__init__([*one.param_groups, *other.param_groups], {})
            self.parts = {"one": one, "other": other}

        def step(self, closure: Any = None) -> None:
            for part in self.parts.values():
                part.step()

    one, other = SGD(model[0].parameters(), lr=0.1), SGD(model[1].parameters(), lr=0.2)
    both = Both(one, other)
    assert innermost(both) == [one, other]
    before = [layer.weight.detach().clone() for layer in model]
    Pressure(both, find_targets(model), strength=0.1)
    model[0].weight.grad = model[1].weight.grad = torch.zeros(3, 3)
    both.step()
    for layer, w, t in zip(model, before, (0.01, 0.02)):
        torch.testing.assert_close(layer.weight.detach(), L1().prox_(w, t))


def test_saliency_sees_through_wrappers() -> None:
    layer = layer_with_gradient()
    wrapper = Accelerated(Adam(layer.parameters()))
    wrapper.step()
    wrapper.step()
    saliency = Saliency()
    saliency.check([wrapper])
    inner = Saliency().weigh(find_targets(layer), [wrapper.optimizer])
    assert torch.equal(saliency.weigh(find_targets(layer), [wrapper])[0], inner[0])


def test_one_that_has_no_hooks_and_holds_none_that_has_is_refused() -> None:
    layer = layer_with_gradient()

    with pytest.raises(ValueError, match="Bare has no hooks, for it never calls"):
        Pressure(Bare(layer.parameters()), find_targets(layer), form=Proximal())
    with pytest.raises(ValueError, match="Bare has no hooks"):
        HoldWithin(Bare(layer.parameters()), find_targets(layer), {})


def test_one_that_holds_an_optimizer_of_other_weights_is_itself() -> None:
    mine, others = layer_with_gradient(), layer_with_gradient()
    optimizer = Adam(mine.parameters())
    optimizer.friend = Adam(others.parameters())  # type: ignore[attr-defined]
    assert innermost(optimizer) == [optimizer]


# ---- before steps


def test_what_is_done_before_a_step_sees_its_gradients_once_each_step() -> None:
    layer = layer_with_gradient()
    expected = layer.weight.grad
    seen: list[Any] = []

    class Around(Optimizer):
        """Has hooks, and holds one that has none and one that has."""

        def __init__(self, *within: Optimizer) -> None:
            super().__init__(layer.parameters(), {})
            self.within = within

        def step(self, closure: Any = None) -> None:
            loss = None if closure is None else closure()
            for one in self.within:
                one.step()
            return loss

    sgd, bare = SGD(layer.parameters(), lr=0.1), Bare(layer.parameters())
    around = Around(sgd, bare)
    handles = before_steps(around, lambda one: seen.append((one, layer.weight.grad)))
    around.step()
    assert {id(one) for one, _ in seen} == {id(sgd), id(bare)} and len(seen) == 2
    assert all(gradient is expected for _, gradient in seen)

    made = torch.ones(5, 6)

    def closure() -> float:
        layer.weight.grad = made
        return 0.5

    seen.clear()
    assert around.step(closure) == 0.5  # type: ignore[arg-type]
    assert len(seen) == 2 and all(gradient is made for _, gradient in seen)
    seen.clear()
    sgd.step(closure)  # type: ignore[arg-type]
    assert seen == [(sgd, made)]
    for handle in handles:
        handle.remove()
    around.step()
    assert len(seen) == 1


def test_before_the_steps_of_one_without_hooks_nothing_can_be_done() -> None:
    with pytest.raises(ValueError, match="Bare has no hooks"):
        before_steps(Bare(layer_with_gradient().parameters()), lambda one: None)
