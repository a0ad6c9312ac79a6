"""OptimizerHooks: pressure and masks on every optimizer, as long as it takes and no longer."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from l1prune import Pressure, Proximal, find_targets
from l1prune.training.hooks import Around, OptimizerHooks


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def step(net: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    net(torch.zeros(1, 4)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()


def test_each_optimizer_is_pressed_and_held_until_it_is_let_go() -> None:
    net = model()
    optimizers = [torch.optim.SGD(layer.parameters(), 0.1) for layer in net]
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[0] = False
    targets = find_targets(net)
    masks = {"1.weight": mask}
    press = partial(Pressure, targets=targets, strength=0.0, form=Proximal(), masks=masks)
    attached = OptimizerHooks(optimizers, targets, press, masks, steps=[3])
    attached.press(1e6)
    step(net, optimizers[0])
    assert not net[0].weight.any()
    assert attached.steps == [4, 0]
    attached.press(0.0)
    step(net, optimizers[1])
    assert not net[1].weight[0].any()
    assert bool(net[1].weight[1:].all())
    assert attached.remove()
    assert not attached.remove()
    net[1].weight.data.fill_(1.0)
    step(net, *optimizers)
    assert bool(net[1].weight.all())


def test_without_optimizers_there_is_nothing_to_let_go() -> None:
    assert not OptimizerHooks.none().remove()


# ---- around a method


class Doubles:
    def of(self, number: int, plus: int = 0) -> int:
        return 2 * number + plus


def test_what_stands_around_a_method_decides_what_it_is_called_with() -> None:
    one, other = Doubles(), Doubles()
    around = Around(one, "of", lambda of, number, plus=0: -of(number + 1, plus=plus))
    assert (one.of(1), one.of(1, plus=3), other.of(1)) == (-4, -7, 2)
    around.remove()
    around.remove()
    assert one.of(1) == 2 and not vars(one)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_several_around_one_method_go_in_any_order(order: tuple[int, int]) -> None:
    one = Doubles()
    arounds = [Around(one, "of", lambda of, number: of(number) + 1) for _ in range(2)]
    assert one.of(1) == 4
    arounds[order[0]].remove()
    assert one.of(1) == 3
    arounds[order[1]].remove()
    assert one.of(1) == 2
