"""Kinds of optimizers: the update rule of each one that is known."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.optim import (
    SGD,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
)

from l1prune.pressure.kernels.passes import Correction, Threshold
from l1prune.pressure.optimizers.rules import (
    Group,
    Mean,
    Squares,
    State,
    UpdateRule,
    forgetting,
    gain,
    has_moments,
    number,
    over_root,
)


@singledispatch
def update_rule(optimizer: Any) -> UpdateRule | None:
    """The rule by which an optimizer updates its weights; None where it is not known.

    For an optimizer of your own, register a function that returns its rule.

    >>> from torch import nn
    >>> update_rule(Adam(nn.Linear(1, 1).parameters())).adaptive
    True
    >>> class Signs(torch.optim.Optimizer): ...
    >>> @update_rule.register
    ... def _(optimizer: Signs) -> UpdateRule:
    ...     return UpdateRule()
    """
    # Kinds of other libraries, and of later versions of torch, go by their names.
    names = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(optimizer).mro()]
    if ("torchao", "_AdamBase") in names:  # with moments of 8 bits, of 4 or of fp8
        return AdamRule()
    return None


@update_rule.register
def _(optimizer: SGD) -> UpdateRule:
    return SGDRule()


@update_rule.register(Adam)
@update_rule.register(AdamW)
@update_rule.register(NAdam)
def _(optimizer: Any) -> UpdateRule:
    return AdamRule()


@update_rule.register
def _(optimizer: RAdam) -> UpdateRule:
    return RAdamRule()


@update_rule.register
def _(optimizer: Adamax) -> UpdateRule:
    return AdamaxRule()


@update_rule.register
def _(optimizer: Adafactor) -> UpdateRule:
    return AdafactorRule()


@update_rule.register
def _(optimizer: RMSprop) -> UpdateRule:
    return RMSpropRule()


@update_rule.register
def _(optimizer: Adagrad) -> UpdateRule:
    return AdagradRule()


class SGDRule(UpdateRule):
    """A gradient as it is, but for what momentum makes of it: see `gain`.

    w = prox(w − lr·b) rests where 0 ∈ b + λ·∂penalty for a pressure of lr·λ. Since b rests at
    `gain` times the gradient, lr·λ·`gain` it takes to minimise loss + λ·penalty.
    """

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        # A subclass may keep a momentum of its own, and call it otherwise.
        return not group.get("momentum") or isinstance(state.get("momentum_buffer"), Tensor)

    def threshold(self, amount: float | Tensor, group: Group, state: State) -> Threshold:
        return Threshold(amount * gain(group.get("momentum", 0.0), group.get("dampening", 0.0)))


class AdamRule(UpdateRule):
    """A gradient over √v̂ + ε, v̂ the mean of its squares (Kingma and Ba, 2015).

    NAdam divides by the same (Dozat, 2016).
    """

    adaptive = True

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        most = ["max_exp_avg_sq"] if group.get("amsgrad") else []
        known = {"betas", "eps"} <= group.keys() and len(group["betas"]) == 2
        return known and has_moments(w, state, "exp_avg", "exp_avg_sq", *most)

    def threshold(self, amount: float | Tensor, group: Group, state: State) -> Threshold:
        second = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
        beta, steps = float(group["betas"][1]), number(state["step"])
        if isinstance(steps, Tensor):
            return Threshold(amount, second, Correction(beta, steps), group["eps"])
        return Threshold(amount, second, (1 - beta**steps) ** 0.5, group["eps"])

    def squares(self, group: Group, state: State) -> Squares:
        return forgetting(state["exp_avg_sq"], group["betas"][1], state["step"])

    def mean(self, group: Group, state: State) -> Mean:
        return Mean(state["exp_avg"], float(group["betas"][0]))


class RAdamRule(AdamRule):
    """A gradient over (√v + ε)/(√(1 − β₂ⁿ)·r), once r is defined; before, over 1.

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020,
    algorithm 2; torch adds ε before it corrects the bias.
    """

    def step_length(self, group: Group, state: State) -> float | Tensor:
        length = rectification(group["betas"][1], number(state["step"]))
        if isinstance(length, Tensor):
            return torch.where(length > 0, length, 1.0)
        return length or 1.0

    def divided(self, amount: float | Tensor, group: Group, state: State) -> float | Tensor:
        beta, steps = group["betas"][1], number(state["step"])
        factor = (1 - beta**steps) ** 0.5 * rectification(beta, steps)
        if isinstance(factor, Tensor):  # on an accelerator, to save a wait
            rectified = over_root(amount * factor, state["exp_avg_sq"], 1.0, group["eps"])
            return torch.where(factor > 0, rectified, amount)
        if factor == 0:
            return amount
        return over_root(amount * factor, state["exp_avg_sq"], 1.0, group["eps"])


def rectification(beta: float, steps: float | Tensor) -> float | Tensor:
    """What RAdam's steps are shortened by: r after so many steps, 0 where it has none yet.

    >>> rectification(0.999, 5.0), round(rectification(0.999, 1000.0), 3)
    (0.0, 0.645)
    """
    longest = 2 / (1 - beta) - 1
    length = longest - 2 * steps * beta**steps / (1 - beta**steps)
    square = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    if isinstance(length, Tensor):
        assert isinstance(square, Tensor)
        return torch.where(length > 5, square, 0.0).sqrt()
    return square**0.5 if length > 5 else 0.0


class AdamaxRule(UpdateRule):
    """A gradient over u, the largest one of late (Kingma and Ba, 2015, algorithm 2)."""

    adaptive = True

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        return "betas" in group and has_moments(w, state, "exp_avg", "exp_inf")

    def divided(self, amount: float | Tensor, group: Group, state: State) -> Tensor:
        inverse: Tensor = state["exp_inf"].reciprocal()
        return inverse.mul_(amount)

    def mean(self, group: Group, state: State) -> Mean:
        return Mean(state["exp_avg"], float(group["betas"][0]))


class AdafactorRule(UpdateRule):
    """A gradient over √v, v of a matrix known by its rows' and columns' means (torch's Adafactor).

    Its steps are as long as the weights are large, and clipped where gradients are larger than v
    lets expect: `relative_step`.

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost",
    ICML 2018, algorithms 4 and 5.
    """

    adaptive = True
    elementwise = False

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        known = {"eps", "d", "beta2_decay"} <= group.keys() and "step" in state
        return known and ({"row_var", "col_var"} <= state.keys() or "variance" in state)

    def divided(self, amount: float | Tensor, group: Group, state: State) -> Tensor:
        least = self._least(group, state)
        if "row_var" in state:
            rows, columns = state["row_var"], state["col_var"]
            second = rows @ columns
            second.div_(rows.mean(dim=-2, keepdim=True).clamp_(min=least))
        else:
            second = state["variance"].clone()
        inverse: Tensor = second.clamp_(min=least * least).rsqrt_()
        return inverse.mul_(amount)

    def relative_step(
        self, w: Tensor, gradient: Tensor, group: Group, state: State
    ) -> float | Tensor:
        rate, steps = number(group["lr"]), number(state["step"])
        length = (1 / steps**0.5) / rate
        bound = length.clamp(max=1.0) if isinstance(length, Tensor) else min(length, 1.0)
        size = root_mean_square(w).clamp(min=group["eps"][1])
        update = self.divided(1.0, group, state).mul_(gradient)
        clipped = (root_mean_square(update) / group["d"]).clamp(min=1.0)
        return number(size / clipped * bound)

    def _least(self, group: Group, state: State) -> float:
        least = group["eps"][0]
        dtype = state["row_var" if "row_var" in state else "variance"].dtype
        return float(torch.finfo(dtype).eps if least is None else least)


def root_mean_square(values: Tensor) -> Tensor:
    """√(Σx²/n), 0-d."""
    result: Tensor = torch.linalg.vector_norm(values) / max(values.numel(), 1) ** 0.5
    return result


class RMSpropRule(UpdateRule):
    """A gradient over √v + ε, v the mean of its squares, or their variance (Hinton, 2012).

    With momentum, which sums up quotients as SGD's sums up gradients, times its `gain`.
    """

    adaptive = True

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        mean = ["grad_avg"] if group.get("centered") else []
        return {"alpha", "eps"} <= group.keys() and has_moments(w, state, "square_avg", *mean)

    def threshold(self, amount: float | Tensor, group: Group, state: State) -> Threshold:
        second = state["square_avg"]
        if group.get("centered"):
            second = second.addcmul(state["grad_avg"], state["grad_avg"], value=-1).clamp_(min=0)
        return Threshold(amount * gain(group.get("momentum", 0.0)), second, eps=group["eps"])

    def squares(self, group: Group, state: State) -> Squares:
        return forgetting(state["square_avg"], group["alpha"], state["step"])


class AdagradRule(UpdateRule):
    """A gradient over √Σg² + ε (Duchi, Hazan and Singer, 2011).

    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Adagrad([w], lr=0.0)
    >>> for gradient in (3.0, 4.0):
    ...     w.grad = torch.tensor([gradient]); optimizer.step()
    >>> AdagradRule().squares(optimizer.param_groups[0], optimizer.state[w]).total
    tensor([25.])
    """

    adaptive = True

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        settings = {"lr_decay", "eps", "initial_accumulator_value"}
        return settings <= group.keys() and has_moments(w, state, "sum")

    def threshold(self, amount: float | Tensor, group: Group, state: State) -> Threshold:
        return Threshold(amount / self._decay(group, state), state["sum"], eps=group["eps"])

    def step_length(self, group: Group, state: State) -> float | Tensor:
        return 1 / (number(state["step"]) ** 0.5 * self._decay(group, state))

    def _decay(self, group: Group, state: State) -> float | Tensor:
        return 1 + (number(state["step"]) - 1) * float(group["lr_decay"])

    def squares(self, group: Group, state: State) -> Squares:
        total = state["sum"] - group["initial_accumulator_value"]
        return Squares(total, 1.0, float(state["step"]))
