"""Forms: how a penalty enters an optimizer step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from l1prune.checks import check_object
from l1prune.penalties import Penalty
from l1prune.penalties.trimmed import trimmed_prox_
from l1prune.pressure.metrics import (
    Euclidean,
    Group,
    Metric,
    OptimizerMetric,
    is_known,
    number,
)
from l1prune.weights.rounding import HALVES, round_stochastically
from l1prune.weights.shards import local


class Form(Protocol):
    """The form in which a penalty enters an optimizer step."""

    def check(self, optimizer: Optimizer) -> None:
        """Raise ValueError if this form and the optimizer do not go together."""
        ...

    def before(self, step: Step) -> None:
        """What happens to a parameter before the optimizer moves it: nothing, for most forms."""
        return

    def after(self, step: Step) -> None:
        """What happens to a parameter after the optimizer has moved it."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """One optimizer step of one parameter, as a form sees it."""

    optimizer: Optimizer
    group: Group
    parameter: Tensor
    penalty: Penalty
    strength: float
    spared: Tensor | None
    ease: float
    separable: bool
    seed: int

    @property
    def in_pieces(self) -> bool:
        """Whether this step may be taken on parts of the parameter, one after the other."""
        plain = self.spared is None and self.parameter.dtype not in HALVES
        return plain and self.separable

    def shrink_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """The proximal map of the penalty, trimmed if some weights are spared, in place."""
        if self.spared is None:
            return self.penalty.prox_(w, t)
        return trimmed_prox_(self.penalty, w, t, local(self.spared), self.ease)


@dataclass(frozen=True)
class Proximal(Form):
    """The proximal map after the step: small weights become exactly zero.

    Args:
        metric: `Euclidean()`, t = lr·λ, or `OptimizerMetric()`, t_i = lr·λ/(√v̂_i + ε).
    """

    metric: Metric = field(default_factory=Euclidean)

    def __post_init__(self) -> None:
        check_object("metric", self.metric, ("threshold", "in_pieces"), "Euclidean()")

    def check(self, optimizer: Optimizer) -> None:
        self.metric.check(optimizer)

    def after(self, step: Step) -> None:
        w, amount = local(step.parameter), number(step.group["lr"]) * step.strength
        if not isinstance(amount, Tensor) and amount == 0:
            return
        taken = step.optimizer, step.group, step.parameter, amount
        if step.in_pieces:
            for piece, t in self.metric.in_pieces(*taken):
                step.penalty.prox_(piece, t)
            return
        t = self.metric.threshold(*taken)
        if w.dtype in HALVES:
            # lr·λ lies below the resolution of such types: rounded to nearest, nothing would
            # move. Seeded by the step, so that the user's random stream is left alone and a
            # resumed run draws what the run that never stopped drew.
            generator = torch.Generator(w.device).manual_seed(step.seed)
            exact = step.shrink_(w.float(), t.float() if isinstance(t, Tensor) else t)
            w.copy_(round_stochastically(exact, w.dtype, generator))
        else:
            step.shrink_(w, t)


def default_form(optimizer: Optimizer) -> Form:
    """The proximal map in the optimizer's own metric; in the Euclidean one, where that is unknown.

    In its own metric the strength is the λ of loss + λ·penalty, whatever the optimizer: one default
    serves all of them.
    """
    if is_known(optimizer):
        return Proximal(OptimizerMetric())
    rank_zero_warn(
        f"form: the metric of {type(optimizer).__name__} is not known, so weights are pressed by "
        "lr·λ, whatever the gradients are divided by; register it with "
        "l1prune.pressure.metrics.divided.register, or give form=Proximal()"
    )
    return Proximal()


@dataclass(frozen=True)
class Subgradient(Form):
    """The textbook's way, for comparison: λ·∂penalty joins the gradient before the step.

    It stays out of the loss, and of clipping, which happens earlier. No weight becomes exactly
    zero, and an adaptive optimizer rescales the pressure along with the gradient.
    """

    def check(self, optimizer: Optimizer) -> None:
        return

    def before(self, step: Step) -> None:
        assert step.parameter.grad is not None
        w, grad = local(step.parameter), local(step.parameter.grad)
        # A fused optimizer divides by the loss scale inside its step: the pressure must match it.
        scale = getattr(step.optimizer, "grad_scale", None)
        ascent = -1.0 if step.group.get("maximize", False) else 1.0
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            (slope,) = torch.autograd.grad(step.penalty.value(leaf), leaf)
        grad.add_(slope if scale is None else slope * scale, alpha=ascent * step.strength)

    def after(self, step: Step) -> None:
        return
