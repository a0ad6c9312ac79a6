"""Small networks whose channels reach across layers, each with an example of its input."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from dead_units import Apply
from torch import Tensor, nn

from l1prune.channels.coupling import Coupling, coupling_of

Network = tuple[nn.Module, Tensor]


def perceptron() -> Network:
    return nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 3)
    ), torch.randn(2, 6)


def flattened() -> Network:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 4)
    ), torch.randn(2, 1, 8, 8)


def residual() -> Network:
    """A stream that three layers write and two read, with norms."""
    parts: dict[str, nn.Module] = {
        "stem": nn.Conv2d(1, 8, 3, padding=1, bias=False),
        "norm0": nn.BatchNorm2d(8),
        "up": nn.Conv2d(8, 6, 3, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(6),
        "down": nn.Conv2d(6, 8, 3, padding=1),
        "norm2": nn.BatchNorm2d(8),
        "head": nn.Linear(8, 3),
    }

    def call(m: Apply, x: Tensor) -> Tensor:
        x = torch.relu(m.norm0(m.stem(x)))
        x = torch.relu(x + m.norm2(m.down(torch.relu(m.norm1(m.up(x))))))
        y: Tensor = m.head(x.mean((2, 3)))
        return y

    return Apply(call, **parts), torch.randn(2, 1, 6, 6)


def depthwise() -> Network:
    return nn.Sequential(
        nn.Conv2d(2, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ReLU6(),
        nn.Conv2d(8, 5, 1),
        nn.Flatten(),
        nn.Linear(80, 2),
    ), torch.randn(2, 2, 4, 4)


def concatenated() -> Network:
    """Two layers side by side, of which one is narrow, and a third that reads and joins both."""
    parts: dict[str, nn.Module] = {
        "wide": nn.Conv2d(2, 12, 3, padding=1),
        "narrow": nn.Conv2d(2, 4, 1),
        "third": nn.Conv2d(16, 6, 3, padding=1),
        "head": nn.Linear(22, 3),
    }

    def call(m: Apply, x: Tensor) -> Tensor:
        both = torch.cat([torch.relu(m.wide(x)), torch.relu(m.narrow(x))], 1)
        every = torch.cat([both, torch.relu(m.third(both))], 1)
        y: Tensor = m.head(every.mean((2, 3)))
        return y

    return Apply(call, **parts), torch.randn(2, 2, 6, 6)


NETWORKS: dict[str, Callable[[], Network]] = {
    one.__name__: one for one in (perceptron, flattened, residual, depthwise, concatenated)
}


def network(name: str) -> Network:
    """One of them, the same numbers every time; its norms have seen some data."""
    torch.manual_seed(0)
    model, example = NETWORKS[name]()
    with torch.no_grad():
        model.train()(torch.randn(16, *example.shape[1:]))
    return model, example


@cache
def coupled(name: str) -> Coupling:
    """The channels of one of them."""
    return coupling_of(*network(name))
