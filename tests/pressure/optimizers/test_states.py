"""What an optimizer remembers, where it is not what its kind remembers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from l1prune import L1, OptimizerMetric, Pressure, Proximal, Saliency, find_targets
from l1prune.pressure.optimizers import divisor, is_known, tells_scale
from l1prune.pressure.response import Responding


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
def test_a_subclass_that_remembers_other_things_is_pressed_by_what_is_seen_of_it(kind: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    optimizer = kind(model.parameters(), lr=0.1)
    pressure = Pressure(optimizer, find_targets(model), strength=0.1)
    assert pressure.form == Proximal(OptimizerMetric())  # as its parent would be
    for _ in range(3):
        before = model[0].weight.detach().clone()
        model[0].weight.grad = model[1].weight.grad = torch.ones(3, 3)
        optimizer.step()
        assert isinstance(pressure.form, Responding)
    # A step of −0.1 by a gradient of 1: as an Adam of that learning rate.
    expected = before if kind is Projected else L1().prox_(before - 0.1, 0.01)
    torch.testing.assert_close(model[0].weight.detach(), expected)


def test_before_its_first_step_an_optimizer_is_known_by_its_kind() -> None:
    w = nn.Parameter(torch.zeros(3, 3))
    w.grad = torch.ones(3, 3)
    found = []
    for make in (SGD, Adam, Renamed, torch.optim.Rprop):
        optimizer = make([w], lr=0.1)
        asked = [optimizer, optimizer.param_groups[0], w]
        for _ in range(2):
            found.append((is_known(*asked), tells_scale(*asked)))
            optimizer.step()
    sgd, adam = [(True, False)] * 2, [(True, True)] * 2
    assert found == [*sgd, *adam, (True, True), (False, False), *[(False, False)] * 2]


def test_whoever_asks_for_a_metric_that_is_not_there_is_told() -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = Renamed(layer.parameters())
    Pressure(optimizer, find_targets(layer), form=Proximal(OptimizerMetric()))
    layer.weight.grad = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"Renamed has no known metric; leave the form out"):
        optimizer.step()


def test_saliency_sums_up_itself_what_it_cannot_read() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False)
    optimizer, saliency = Renamed(layer.parameters()), Saliency(shrinkage=0.0)
    targets = find_targets(layer)
    layer.weight.grad = torch.rand(3, 3) + 0.1
    with saliency.follow(targets, [optimizer]):
        for _ in range(2):  # after the first it is known that there is nothing to read
            optimizer.step()
    (worth,) = saliency.weigh(targets, [optimizer])
    share = worth / (layer.weight * layer.weight.grad)
    torch.testing.assert_close(share, share[0, 0].expand(3, 3))


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
