"""What is known of optimizers: checked against the steps that they take, and within others."""

from __future__ import annotations

import warnings
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
)

from l1prune import L1, OptimizerMetric, Pressure, Proximal, Saliency, find_targets
from l1prune.pressure.optimizers import divisor, innermost, update_rule
from l1prune.training.hooks import Hold

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


@pytest.mark.parametrize("name", ["NAdam", "RAdam", "Adamax", "AdamW"])
def test_with_momentum_it_is_so_where_gradients_stay_as_they_are(name: str) -> None:
    w = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    w.grad = torch.tensor([3.0, -1.0, 0.1, -0.01, 1e-4], dtype=torch.float64)
    decay = {"weight_decay": 0.0} if name == "AdamW" else {}
    optimizer = getattr(torch.optim, name)([w], lr=RATE, **decay)
    for _ in range(300):
        before = w.detach().clone()
        optimizer.step()
    move = (before - w.detach()) / w.grad
    group = optimizer.param_groups[0]
    t = OptimizerMetric().threshold(optimizer, group, w, group["lr"])
    torch.testing.assert_close(move, t, rtol=1e-3, atol=0.0)


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


@pytest.mark.parametrize("make", [NAdam, RAdam, Adamax, Adafactor])
def test_saliency_goes_by_what_they_remember(make: Any) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    optimizer = make(layer.parameters(), lr=0.0)
    targets, saliency = find_targets(layer), Saliency()
    scales = torch.tensor([1.0, 10.0, 0.1, 3.0])
    for _ in range(200):
        layer.weight.grad = torch.randn(3, 4) * scales
        optimizer.step()
    saliency.check([optimizer])
    (worth,) = saliency.weigh(targets, [optimizer])
    found = (worth / layer.weight).abs().mean(0)
    torch.testing.assert_close(found / found[0], scales, rtol=0.35, atol=0.0)


# ---- subclasses, and kinds of other libraries


class Renamed(AdamW):
    """A parent's class with moments of its own names; or, without names, with none."""

    names: tuple[str, ...] = ("m", "v")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for w in self.param_groups[0]["params"]:
            for name in self.names:
                self.state[w][name] = w.grad.clone()
            w.sub_(w.grad.sign(), alpha=self.param_groups[0]["lr"])


class Forgetful(Renamed):
    names = ()


class Projected(Renamed):
    """Moments by the parent's names, but of a projection of the gradient."""

    def step(self, closure: Any = None) -> None:
        for w in self.param_groups[0]["params"]:
            moment = torch.ones(1, w.shape[1])
            self.state[w].update(step=torch.tensor(1.0), exp_avg=moment, exp_avg_sq=moment)


@pytest.mark.parametrize("kind", [Renamed, Forgetful, Projected])
def test_a_subclass_that_remembers_other_things_is_pressed_by_lr_times_strength(kind: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    optimizer = kind(model.parameters(), lr=0.1)
    Pressure(optimizer, find_targets(model), strength=0.5)
    with pytest.warns(UserWarning, match=rf"the metric of {kind.__name__} is not known") as said:
        for _ in range(3):
            before = model[0].weight.detach().clone()
            model[0].weight.grad = model[1].weight.grad = torch.zeros(3, 3)
            optimizer.step()
            pressed = L1().prox_(before, 0.05)
            assert torch.equal(model[0].weight, pressed)
    assert len(said) == 1


def test_whoever_asks_for_a_metric_that_is_not_there_is_told() -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = Renamed(layer.parameters())
    Pressure(optimizer, find_targets(layer), form=Proximal(OptimizerMetric()))
    layer.weight.grad = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"Renamed has no known metric; use Euclidean"):
        optimizer.step()


def test_saliency_without_readable_moments_goes_by_size_and_says_so_once() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False)
    optimizer, saliency = Renamed(layer.parameters()), Saliency()
    layer.weight.grad = torch.ones(3, 3)
    optimizer.step()
    saliency.check([optimizer])
    with pytest.warns(UserWarning, match="what Renamed remembers of gradients") as said:
        for _ in range(2):
            (worth,) = saliency.weigh(find_targets(layer), [optimizer])
    assert len(said) == 1
    order = layer.weight.detach().abs().flatten().argsort()
    assert torch.equal(worth.flatten().argsort(), order)


class Lion(Optimizer):
    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99)})


@pytest.mark.parametrize("make", [Muon, Lion])
def test_of_steps_whose_length_is_their_own_it_is_said_what_strength_means(make: Any) -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = make(layer.parameters())
    with pytest.warns(UserWarning, match="as long whatever the size of gradients"):
        assert Pressure(optimizer, find_targets(layer)).form == Proximal()
    with pytest.raises(ValueError, match="has no known metric"):
        Pressure(optimizer, find_targets(layer), form=Proximal(OptimizerMetric()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pressure(optimizer, find_targets(layer), form=Proximal())


class Eighths(Tensor):
    """Few bits, with a scale: what stands there is told by `dequantize` alone."""

    @staticmethod
    def __new__(cls, codes: Tensor) -> Eighths:
        return Tensor._make_subclass(cls, codes)

    def dequantize(self) -> Tensor:
        return self.as_subclass(Tensor) / 8


def test_moments_of_few_bits_are_read_for_what_they_stand_for() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    layer.weight.grad = torch.randint(1, 9, (3, 4)).float()
    optimizer = Adam(layer.parameters(), lr=0.0)
    optimizer.step()
    plain = divisor(optimizer, optimizer.param_groups[0], layer.weight)
    targets = find_targets(layer)
    (worth,) = Saliency().weigh(targets, [optimizer])
    state = optimizer.state[layer.weight]
    for name in ("exp_avg", "exp_avg_sq"):
        state[name] = Eighths(state[name] * 8)
    few = divisor(optimizer, optimizer.param_groups[0], layer.weight)
    torch.testing.assert_close(few, plain)
    torch.testing.assert_close(Saliency().weigh(targets, [optimizer])[0], worth)


def test_torchaos_adam_is_known_by_its_name() -> None:
    base = type("_AdamBase", (Optimizer,), {"__module__": "torchao.optim.adam"})
    optimizer = type("AdamW8bit", (base,), {})([nn.Parameter(torch.zeros(1))], {"lr": 0.1})
    rule = update_rule(optimizer)
    assert rule is not None and rule.adaptive


# ---- optimizers around optimizers


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
    pressure = Pressure(wrapper, targets, strength=0.01)
    masks = {"weight": torch.rand(5, 6) < 0.5}
    hold = Hold(wrapper, targets, masks)
    for _ in range(4):
        before = layer.weight.detach().clone()
        wrapper.step()
        assert not torch.equal(layer.weight, before)
        assert not layer.weight[~masks["weight"]].any()
    assert pressure.steps == 4 and pressure.form == Proximal(OptimizerMetric())
    hold.remove()
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

    class Bare(Optimizer):
        def __init__(self, params: Any) -> None:
            self.param_groups = [{"params": list(params), "lr": 0.1}]

    with pytest.raises(ValueError, match="Bare has no hooks, for it never calls"):
        Pressure(Bare(layer.parameters()), find_targets(layer), form=Proximal())
    with pytest.raises(ValueError, match="Bare has no hooks"):
        Hold(Bare(layer.parameters()), find_targets(layer), {})


def test_one_that_holds_an_optimizer_of_other_weights_is_itself() -> None:
    mine, others = layer_with_gradient(), layer_with_gradient()
    optimizer = Adam(mine.parameters())
    optimizer.friend = Adam(others.parameters())  # type: ignore[attr-defined]
    assert innermost(optimizer) == [optimizer]
