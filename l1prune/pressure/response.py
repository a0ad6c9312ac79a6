"""Response: how an optimizer that is not known answers to a gradient, seen from its steps.

SGD and Adam are known by what they divide a gradient by. Lion takes the sign of its momentum, Muon
makes it an orthogonal matrix, and others do what is not written down here. Each of them is taken
for the Adam whose steps would be as long.

That is right for a sign and for an orthogonal matrix, too. Let f(m) be the step that a momentum m
leads to, and σ the noise of m. A steady gradient of size λ, small beside the noise, adds to it in
the mean λ·E[f′] = λ·E[f·m]/σ² = λ·ρ·r/σ, with r the root mean square of the steps and ρ their
correlation with m: 1 for Adam, √(2/π) for signs, 8/(3π) to 1 for orthogonal matrices.

Source: Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics
1981, lemma 2; steps of one optimizer with the length of another's: Agarwal et al., "Disentangling
adaptive gradient methods from learning rates" (grafting), 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.pressure.forms import Proximal, Step
from l1prune.pressure.gradients import BETAS, EPS, Gradients
from l1prune.pressure.metrics import Metric, OptimizerMetric
from l1prune.pressure.optimizers import (
    Group,
    before_steps,
    fitting_rule,
    innermost,
    is_known,
    number,
    over_root,
    was_skipped,
)
from l1prune.weights.pieces import pieces
from l1prune.weights.shards import local, over_shards

NOISE = ((1 - BETAS[0]) / (1 + BETAS[0])) ** 0.5
"""The root mean square of Adam's steps of length 1 where gradients are noise."""


class Response(Metric):
    """t_i = λ·(r/a)/(√v̂_i + ε), as under the Adam whose steps would be as long, up to a limit.

    r is the root mean square of what the entries of the tensor have just moved by, a that of
    m̂/(√v̂ + ε), Adam's step for a learning rate of 1, and r/a the learning rate of that Adam. A kind
    that is known goes by what is known of it.

    Without a momentum, which looks through the noise, it is up to four times too strong. A
    schedule-free optimizer takes its gradient steps at a point that it keeps to itself, which no
    pressure reaches, and which undoes in the long run what the weights are pressed by.

    Args:
        gradients: keeps m and v where the optimizer does not.
        limit: the most that a weight moves, as a share of r/a: see `OptimizerMetric`.
    """

    def __init__(self, gradients: Gradients, limit: float = math.inf) -> None:
        self._gradients, self._limit = gradients, limit
        self._before: dict[int, Tensor] = {}
        self._unknown: set[int] = set()

    def __repr__(self) -> str:
        return "Response()"

    def check(self, optimizer: Optimizer) -> None:
        return

    def look(self, optimizer: Optimizer, group: Group, w: Tensor) -> None:
        """See a weight and its gradient before a step."""
        noted = id(w) in self._unknown or self._gradients.has(w)
        if noted or not is_known(optimizer, group, w):
            self._gradients.note(w, optimizer)
            self._before[id(w)] = local(w.detach()).clone()

    @torch.no_grad()
    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        if fitting_rule(optimizer, group, w) is not None:
            return OptimizerMetric(self._limit).threshold(optimizer, group, w, amount)
        before = self._before.pop(id(w), None)
        squares, mean = self._gradients.squares(w), self._gradients.mean(w)
        if before is None or squares is None or mean is None:
            self._unknown.add(id(w))  # whatever its kind: it is seen from the next step on
            return 0.0
        part, rate = local(w), number(group["lr"])
        weight = (1 - squares.memory**squares.steps) / (1 - squares.memory)
        inverse = over_root(1.0, local(squares.total), weight**0.5, EPS)
        sums = _squares(part, before, local(mean.value), inverse)
        own, adams = (over_shards([sums], [w])[0] / w.numel()).sqrt().unbind()
        unbiased = adams / (1 - mean.memory**squares.steps)
        # Adam's is no shorter where gradients come at all: m alone forgets those that have ceased.
        pressure = inverse.mul_(_over(amount, rate)).clamp_(max=self._limit)
        return pressure.mul_(own / unbiased.clamp(min=NOISE))


def _squares(now: Tensor, before: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """Σ of the squares of what a weight moved by, and of Adam's steps but for its correction."""
    sums = torch.zeros(2, dtype=inverse.dtype, device=inverse.device)
    for new, old, m, d in pieces(now, before, mean, inverse):
        steps = new.to(m.dtype) - old.to(m.dtype), m * d
        sums += torch.stack([torch.linalg.vector_norm(step).square() for step in steps])
    return sums


def _over(amount: float | Tensor, rate: float | Tensor) -> float | Tensor:
    """λ, of lr·λ and lr; 0 where both are."""
    least = 1e-30
    return amount / (rate.clamp(min=least) if isinstance(rate, Tensor) else max(rate, least))


@dataclass(frozen=True)
class Responding(Proximal):
    """The proximal map in the metric of what has been seen of the optimizer's steps."""

    metric: Response

    def attach(
        self, optimizer: Optimizer, steps: Callable[[Optimizer], Iterator[Step]]
    ) -> list[RemovableHandle]:
        def look(one: Optimizer) -> None:
            if not was_skipped(one):
                for step in steps(one):
                    self.metric.look(one, step.group, step.parameter)

        return before_steps(optimizer, look)


class DefaultForm:
    """The proximal map in the optimizer's own metric, or by its response where that is unknown.

    Either way the strength is the λ of loss + λ·penalty, whatever the optimizer: one default serves
    all of them. A step may still find that the optimizer remembers too little for its metric, and
    raise UnknownMetricError: `responding` gives the form to go on with.

    Args:
        gradients: keeps what has been seen of them, if that is needed; None: a new one.
        limit: the most that a weight moves, as a share of lr: see `OptimizerMetric`.
    """

    def __init__(self, gradients: Gradients | None = None, limit: float = math.inf) -> None:
        self.gradients = Gradients() if gradients is None else gradients
        self._limit = limit

    def of(self, optimizer: Optimizer) -> Proximal:
        """The form of an optimizer that moves the weights."""
        known = all(
            is_known(one, group, w) and not self.gradients.has(w)
            for one in innermost(optimizer)
            for group in one.param_groups
            for w in group["params"]
        )
        return Proximal(OptimizerMetric(self._limit)) if known else self.responding()

    def responding(self) -> Responding:
        """The form that goes by what is seen of an optimizer's steps."""
        return Responding(Response(self.gradients, self._limit))
