"""Optimizers: all that is known of each kind, in one room.

What an optimizer divides a gradient by, what squares it sums up, its momentum: an `UpdateRule`
tells, and `update_rule` finds the one of an optimizer. Registering another kind is all that it
takes for metric and saliency to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import Tensor
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from l1prune.weights.pieces import pieces, precise
from l1prune.weights.shards import local

Group = dict[str, Any]
"""One of an optimizer's parameter groups."""

State = Mapping[str, Any]
"""What an optimizer remembers of one weight."""


@dataclass(frozen=True)
class Squares:
    """The squared gradients of n steps, summed up: Σ_j β^(n−j)·g_j².

    Args:
        total: the sum, for each weight.
        memory: β in (0, 1]: how much of it a step leaves.
        steps: n.
    """

    total: Tensor
    memory: float
    steps: float


@dataclass(frozen=True)
class Mean:
    """The mean of the last gradients, m ← β·m + (1 − β)·g.

    Args:
        value: m, for each weight.
        memory: β in [0, 1): how much of it a step leaves.
    """

    value: Tensor
    memory: float


class UpdateRule:
    """How a kind of optimizer scales the gradient of a weight; by itself, one that does not."""

    adaptive = False
    """Whether each weight's gradient is divided by a scale of its own, found from its gradients."""

    def divided(self, amount: float | Tensor, group: Group, state: State) -> float | Tensor:
        """`amount` over what a gradient is divided by: a fresh tensor, or a number."""
        return amount

    def squares(self, group: Group, state: State) -> Squares | None:
        """The sums of squared gradients; None if it does not say."""
        return None

    def mean(self, group: Group, state: State) -> Mean | None:
        """The mean of the last gradients; None if it keeps none."""
        return None


@singledispatch
def update_rule(optimizer: Any) -> UpdateRule | None:
    """The rule by which an optimizer updates its weights; None where it is not known.

    For an optimizer of your own, register a function that returns its rule.

    >>> from torch import nn
    >>> update_rule(Adam(nn.Linear(1, 1).parameters())).adaptive
    True
    >>> class Signs(Optimizer): ...
    >>> @update_rule.register
    ... def _(optimizer: Signs) -> UpdateRule:
    ...     return UpdateRule()
    """
    return None


@update_rule.register
def _(optimizer: SGD) -> UpdateRule:
    return UpdateRule()


@update_rule.register(Adam)
@update_rule.register(AdamW)
def _(optimizer: Adam) -> UpdateRule:
    return AdamRule()


@update_rule.register
def _(optimizer: RMSprop) -> UpdateRule:
    return RMSpropRule()


@update_rule.register
def _(optimizer: Adagrad) -> UpdateRule:
    return AdagradRule()


class AdamRule(UpdateRule):
    """A gradient over √v̂ + ε, v̂ the mean of its squares (Kingma and Ba, 2015)."""

    adaptive = True

    def divided(self, amount: float | Tensor, group: Group, state: State) -> Tensor:
        second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
        correction = 1 - group["betas"][1] ** number(state["step"])
        return over_root(amount, second, correction**0.5, group["eps"])

    def squares(self, group: Group, state: State) -> Squares:
        return forgetting(state["exp_avg_sq"], group["betas"][1], state["step"])

    def mean(self, group: Group, state: State) -> Mean:
        return Mean(state["exp_avg"], float(group["betas"][0]))


class RMSpropRule(UpdateRule):
    """A gradient over √v + ε, v the mean of its squares, or their variance (Hinton, 2012)."""

    adaptive = True

    def divided(self, amount: float | Tensor, group: Group, state: State) -> Tensor:
        second = state["square_avg"]
        if group["centered"]:
            second = second.addcmul(state["grad_avg"], state["grad_avg"], value=-1).clamp_(min=0)
        return over_root(amount, second, 1.0, group["eps"])

    def squares(self, group: Group, state: State) -> Squares:
        return forgetting(state["square_avg"], group["alpha"], state["step"])


class AdagradRule(UpdateRule):
    """A gradient over √Σg² + ε (Duchi, Hazan and Singer, 2011).

    >>> import torch
    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Adagrad([w], lr=0.0)
    >>> for gradient in (3.0, 4.0):
    ...     w.grad = torch.tensor([gradient]); optimizer.step()
    >>> AdagradRule().squares(optimizer.param_groups[0], optimizer.state[w])
    Squares(total=tensor([25.]), memory=1.0, steps=2.0)
    """

    adaptive = True

    def divided(self, amount: float | Tensor, group: Group, state: State) -> Tensor:
        decay = 1 + (number(state["step"]) - 1) * group["lr_decay"]
        return over_root(amount / decay, state["sum"], 1.0, group["eps"])

    def squares(self, group: Group, state: State) -> Squares:
        total = state["sum"] - group["initial_accumulator_value"]
        return Squares(total, 1.0, float(state["step"]))


def forgetting(average: Tensor, memory: float | Tensor, steps: float | Tensor) -> Squares:
    """The sum behind an average of which each step replaces a share of 1 − β."""
    beta = float(memory)
    exact = average.to(precise(average.dtype))
    return Squares(exact / (1 - beta) if beta < 1 else exact, beta, float(steps))


def over_root(
    amount: float | Tensor, second: Tensor, correction: float | Tensor, eps: float
) -> Tensor:
    """`amount` / (√second/correction + eps), a fresh tensor.

    `torch.compile` makes one pass over memory of this and the proximal map that follows, as long as
    `correction` comes from outside: computed within, it would be computed for each weight.

    >>> over_root(1.0, Tensor([4.0, 0.0]), correction=0.5, eps=1.0)
    tensor([0.2000, 1.0000])
    """
    result = second.sqrt()
    for (t,) in pieces(result):
        t.mul_(1 / correction).add_(eps).reciprocal_().mul_(amount)
    return result


def number(value: Tensor | float) -> float | Tensor:
    """A step count or learning rate; on an accelerator it stays a tensor, to save a wait."""
    if isinstance(value, Tensor) and value.device.type == "cpu":
        return float(value)
    return value


def state_of(optimizer: Optimizer, w: Tensor) -> dict[str, Any]:
    """What the optimizer remembers of a parameter; of a sharded one, local parts."""
    state = optimizer.state[w]
    return {name: local(v) if isinstance(v, Tensor) else v for name, v in state.items()}


def divisor(optimizer: Optimizer, group: Group, w: Tensor) -> Tensor | None:
    """What the optimizer divides the gradient of each weight by; of a sharded one, local parts.

    None where all weights are divided alike, or nothing is known of this one.
    """
    rule = update_rule(optimizer)
    if rule is None or not rule.adaptive or not optimizer.state.get(w):
        return None
    inverse = rule.divided(1.0, group, state_of(optimizer, w))
    return inverse.float().reciprocal_() if isinstance(inverse, Tensor) else None


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse optimizers whose steps look at the model at weights of their own choice."""
    if isinstance(optimizer, LBFGS):
        raise ValueError(
            "optimizer: LBFGS evaluates the model many times within a step, at weights that are "
            "neither pressed nor masked; use SGD, Adam or another first-order optimizer"
        )


def was_skipped(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was called but left the weights alone, for an infinite gradient.

    Other optimizers are not called at all by a gradient scaler in that case.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
