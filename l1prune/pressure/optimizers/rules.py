"""Update rules: how an optimizer scales the gradient of a weight, and what it remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from l1prune.pressure.kernels.passes import Correction, Threshold
from l1prune.weights.pieces import pieces, precise, widest

Group = dict[str, Any]
"""One of an optimizer's parameter groups."""

State = Mapping[str, Any]
"""What an optimizer remembers of one weight."""


MOST = 1e30
"""What a sum of squares counts as, if it is larger or infinite: two of them have a difference."""


@dataclass(frozen=True)
class Squares:
    """The squared gradients of n steps, summed up: Σ_j β^(n−j)·g_j².

    Args:
        average: the sum as its optimizer keeps it, times `share`.
        memory: β in (0, 1]: how much of the sum a step leaves.
        steps: n.
        share: what a new square counts in the average: 1 − β, or 1, if it is a sum.

    >>> Squares(torch.tensor([0.5]), memory=0.5, steps=1.0, share=0.5).total
    tensor([1.])
    """

    average: Tensor
    memory: float
    steps: float
    share: float = 1.0

    @property
    def total(self) -> Tensor:
        """The sum, for each weight, `MOST` at most: a new tensor."""
        exact = self.average.to(precise(self.average.dtype))
        return (exact / self.share).clamp_(max=MOST)


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

    elementwise = True
    """Whether a weight's scale is found from that weight's entries of the state alone."""

    def fits(self, w: Tensor, group: Group, state: State) -> bool:
        """Whether what it reads is there: subclasses may remember other things than their parent.

        Args:
            w: the weight; of a sharded one, the local part.
            group: its group.
            state: what the optimizer remembers of it after a step.
        """
        return True

    def threshold(self, amount: float | Tensor, group: Group, state: State) -> Threshold:
        """`amount` over what a gradient is divided by, as kernels take it.

        With momentum it is what a gradient that stays as it is moves the weight by, step by step.
        A rule that cannot say it in this form says it by `divided`.
        """
        return Threshold(amount)

    def divided(self, amount: float | Tensor, group: Group, state: State) -> float | Tensor:
        """The same: a fresh tensor, or a number."""
        by = self.threshold(amount, group, state)
        if by.second is None:
            return by.amount
        return over_root(by.amount, by.second, by.correction, by.eps)

    def step_length(self, group: Group, state: State) -> float | Tensor:
        """How long a step is for a gradient as large as those before it, as a share of lr.

        That of an adaptive rule is 1 unless its steps become shorter as it goes on.
        """
        return 1.0

    def relative_step(
        self, w: Tensor, gradient: Tensor, group: Group, state: State
    ) -> float | Tensor:
        """By how much the steps of a whole tensor are longer than lr, if it is not elementwise."""
        return 1.0

    def squares(self, group: Group, state: State) -> Squares | None:
        """The sums of squared gradients; None if it does not say."""
        return None

    def mean(self, group: Group, state: State) -> Mean | None:
        """The mean of the last gradients; None if it keeps none."""
        return None


def has_moments(w: Tensor, state: State, *names: str) -> bool:
    """Whether the state counts its steps and has tensors of the weight's shape by these names."""
    moments = [state.get(name) for name in names]
    return "step" in state and all(isinstance(m, Tensor) and m.shape == w.shape for m in moments)


def forgetting(average: Tensor, memory: float | Tensor, steps: float | Tensor) -> Squares:
    """The sum behind an average of which each step replaces a share of 1 − β."""
    beta = float(memory)
    return Squares(average, beta, float(steps), 1 - beta if beta < 1 else 1.0)


def gain(momentum: float, dampening: float = 0.0) -> float:
    """By how much momentum makes the steps of a gradient that stays longer: (1 − τ)/(1 − μ).

    For b ← μ·b + (1 − τ)·g comes to rest at b = g·(1 − τ)/(1 − μ); so it does with Nesterov's
    g + μ·b, which goes without τ. The first b is a gradient as it is, which soon does not matter.
    A momentum of 1 or more forgets nothing, and has no such b: 1 is the answer then.

    >>> round(gain(0.9), 6), round(gain(0.9, dampening=0.5), 6), gain(0.0, dampening=0.5)
    (10.0, 5.0, 1.0)
    """
    return (1 - dampening) / (1 - momentum) if 0 < momentum < 1 else 1.0


def over_root(
    amount: float | Tensor, second: Tensor, correction: float | Tensor | Correction, eps: float
) -> Tensor:
    """`amount` / (√second/correction + eps), a fresh tensor.

    `torch.compile` makes one pass over memory of this and the proximal map that follows, as long as
    `correction` comes from outside: computed within, it would be computed for each weight.

    >>> over_root(1.0, Tensor([4.0, 0.0]), correction=0.5, eps=1.0)
    tensor([0.2000, 1.0000])
    """
    result = torch.empty_like(second)
    factor = 1 / (correction.value() if isinstance(correction, Correction) else correction)
    for t, some in pieces(result, second):
        t.copy_(root(some)).mul_(factor).add_(eps).reciprocal_().mul_(amount)
    return result


def root(squares: Tensor) -> Tensor:
    """√v, of float32 on a CPU in float64: so that, made narrow again, it is rounded to nearest.

    IEEE 754 asks for that, and torch's vector library may not do it. So the bits are those of any
    other machine, and of compiled code. The root of a float32 is never so near the middle between
    two of them that an error in the last place of a float64 counts.
    """
    exact = squares.device.type != "cpu" or squares.dtype != torch.float32
    if exact or torch.compiler.is_compiling():
        return squares.sqrt()
    return squares.to(widest(squares.device)).sqrt()


def number(value: Tensor | float) -> float | Tensor:
    """A step count or learning rate; on an accelerator it stays a tensor, to save a wait."""
    if isinstance(value, Tensor) and value.is_cpu:
        return float(value.item())
    return value
