"""The subgradient: L1 as the textbook adds it, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.pressure.forms import Form, Step
from l1prune.pressure.optimizers import before_steps
from l1prune.weights.shards import local

Steps = Callable[[Optimizer], Iterator[Step]]


@dataclass(frozen=True)
class Subgradient(Form):
    """The textbook's way, for comparison: λ·∂penalty joins the gradient before the step.

    It stays out of the loss, and of clipping, which happens earlier. No weight becomes exactly
    zero, and an adaptive optimizer rescales the pressure along with the gradient.
    """

    makes_zeros = False

    def check(self, optimizer: Optimizer) -> None:
        return

    def attach(self, optimizer: Optimizer, steps: Steps) -> list[RemovableHandle]:
        return before_steps(optimizer, partial(_add, steps))

    def after(self, step: Step) -> None:
        return


@torch.no_grad()
def _add(steps: Steps, optimizer: Optimizer) -> None:
    # A fused optimizer divides by the loss scale inside its step: the pressure must match it.
    scale = getattr(optimizer, "grad_scale", None)
    for step in steps(optimizer):
        assert step.parameter.grad is not None
        w, grad = local(step.parameter), local(step.parameter.grad)
        ascent = -1.0 if step.group.get("maximize", False) else 1.0
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            (slope,) = torch.autograd.grad(step.penalty.value(leaf), leaf)
        grad.add_(slope if scale is None else slope * scale, alpha=ascent * step.strength)
