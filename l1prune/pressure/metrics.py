"""Metrics: in which geometry a proximal step is short.

A proximal step moves a weight by at most t. In the Euclidean metric t = lr·λ, the same for every
weight. An adaptive optimizer divides the gradient of each weight by its own scale; dividing the
pressure by the same scale keeps gradient and pressure in proportion, so that the run minimises
loss + λ·penalty as it is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from l1prune.weights.pieces import pieces
from l1prune.weights.shards import local

Group = dict[str, Any]


class Metric(Protocol):
    """How long a proximal step is for each weight."""

    def check(self, optimizer: Optimizer) -> None:
        """Raise ValueError if the optimizer has no such metric."""
        ...

    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        """The proximal step's t for the parameter `w`, given `amount` = lr·λ.

        If `w` is sharded over processes, it is that of the local part.
        """
        ...

    def in_pieces(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> Iterator[tuple[Tensor, float | Tensor]]:
        """Views that make up `w`, each with its t, for penalties that treat weights one by one."""
        yield local(w), self.threshold(optimizer, group, w, amount)


@dataclass(frozen=True)
class Euclidean(Metric):
    """t = lr·λ: every weight moves alike. Works with any optimizer; one pass over memory."""

    def check(self, optimizer: Optimizer) -> None:
        return

    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        return amount


@dataclass(frozen=True)
class OptimizerMetric(Metric):
    """t_i = lr·λ / d_i, with d_i what the optimizer divides the gradient of weight i by.

    d is √v̂ + ε for Adam, AdamW and RMSprop, √Σg² + ε for Adagrad and 1 for SGD. Here λ has its
    textbook meaning, the one of loss + λ·penalty, whereas in the Euclidean metric it is relative
    to an Adam step of length lr: good values are about a thousand times smaller here.
    Source: Yun, Lozano & Yang, "Adaptive proximal gradient methods for structured neural
    networks" (ProxGen), NeurIPS 2021, algorithm 1.
    """

    def check(self, optimizer: Optimizer) -> None:
        if not is_known(optimizer):
            raise ValueError(
                f"metric: {type(optimizer).__name__} has no known metric; use Euclidean(), or "
                "register one with l1prune.pressure.metrics.divided.register"
            )

    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        return divided(optimizer, group, _state(optimizer, w), amount)

    def in_pieces(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> Iterator[tuple[Tensor, float | Tensor]]:
        state, part = _state(optimizer, w), local(w)
        moments = {k: v for k, v in state.items() if getattr(v, "shape", None) == part.shape}
        for piece, *parts in pieces(part, *moments.values()):
            some = {**state, **dict(zip(moments, parts, strict=True))}
            yield piece, divided(optimizer, group, some, amount)


def _state(optimizer: Optimizer, w: Tensor) -> dict[str, Any]:
    """What the optimizer remembers of a parameter, or of its local part."""
    state = optimizer.state[w]
    return {name: local(v) if isinstance(v, Tensor) else v for name, v in state.items()}


def divisor(optimizer: Optimizer, group: Group, w: Tensor) -> Tensor | None:
    """What the optimizer divides the gradient of each weight by; of a sharded one, local parts.

    None where all weights are divided alike, or nothing is known of this one.
    """
    if not is_known(optimizer) or not optimizer.state.get(w):
        return None
    inverse = divided(optimizer, group, _state(optimizer, w), 1.0)
    return inverse.float().reciprocal_() if isinstance(inverse, Tensor) else None


def is_known(optimizer: Optimizer) -> bool:
    """Whether it is known what an optimizer divides its gradients by.

    >>> from torch import nn
    >>> is_known(Adam(nn.Linear(1, 1).parameters()))
    True
    """
    return divided.dispatch(type(optimizer)) is not divided.dispatch(object)


@singledispatch
def divided(
    optimizer: Any, group: Group, state: dict[str, Any], amount: float | Tensor
) -> float | Tensor:
    """`amount` over what the optimizer divides a gradient by: a fresh tensor, or a number.

    Register a function of these arguments for an optimizer of your own.
    """
    raise ValueError(f"{type(optimizer).__name__} has no known metric; use Euclidean()")


@divided.register
def _(
    optimizer: SGD, group: Group, state: dict[str, Any], amount: float | Tensor
) -> float | Tensor:
    return amount


@divided.register(Adam)
@divided.register(AdamW)
def _(
    optimizer: Adam, group: Group, state: dict[str, Any], amount: float | Tensor
) -> float | Tensor:
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    correction = 1 - group["betas"][1] ** number(state["step"])
    return over_root(amount, second, correction**0.5, group["eps"])


@divided.register
def _(
    optimizer: RMSprop, group: Group, state: dict[str, Any], amount: float | Tensor
) -> float | Tensor:
    second = state["square_avg"]
    if group["centered"]:
        second = second.addcmul(state["grad_avg"], state["grad_avg"], value=-1).clamp_(min=0)
    return over_root(amount, second, 1.0, group["eps"])


@divided.register
def _(
    optimizer: Adagrad, group: Group, state: dict[str, Any], amount: float | Tensor
) -> float | Tensor:
    decay = 1 + (number(state["step"]) - 1) * group["lr_decay"]
    return over_root(amount / decay, state["sum"], 1.0, group["eps"])


def over_root(
    amount: float | Tensor, second: Tensor, correction: float | Tensor, eps: float
) -> Tensor:
    """`amount` / (√second/correction + eps), a fresh tensor.

    `torch.compile` makes one pass over memory of this and the proximal map that follows, as long as
    `correction` comes from outside: computed within, it would be computed for each weight.

    >>> over_root(1.0, Tensor([4.0, 0.0]), correction=0.5, eps=1.0)
    tensor([0.2000, 1.0000])
    """
    made = second.sqrt()
    for (t,) in pieces(made):
        t.mul_(1 / correction).add_(eps).reciprocal_().mul_(amount)
    return made


def number(value: Tensor | float) -> float | Tensor:
    """A step count or learning rate; on an accelerator it stays a tensor, to save a wait."""
    if isinstance(value, Tensor) and value.device.type == "cpu":
        return float(value)
    return value
