"""Metrics: in which geometry a proximal step is short.

A proximal step moves a weight by at most t. In the Euclidean metric t = lr·λ, the same for every
weight. An adaptive optimizer divides the gradient of each weight by its own scale; dividing the
pressure by the same scale keeps gradient and pressure in proportion, so that the run minimises
loss + λ·penalty as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.checks import is_number
from l1prune.pressure.kernels.passes import Threshold
from l1prune.pressure.optimizers import (
    Group,
    State,
    UpdateRule,
    divided,
    fitting_rule,
    number,
    relative_step,
    state_of,
    update_rule,
)
from l1prune.weights.pieces import pieces
from l1prune.weights.shards import local


class UnknownMetricError(ValueError):
    """An optimizer has no known metric, or remembers too little of a weight to tell it."""


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


Thresholds = Callable[[float | Tensor, Group, Tensor], Threshold]
"""What a proximal step of `amount` = lr·λ is for a parameter of a group, as kernels take it."""


@runtime_checkable
class KernelMetric(Metric, Protocol):
    """A metric in which all weights of an optimizer can be pressed in one pass."""

    def thresholds(self, optimizer: Optimizer) -> Thresholds | None:
        """Its proximal steps; None where they are not of the form that kernels know."""
        ...


@dataclass(frozen=True)
class Euclidean(KernelMetric):
    """t = lr·λ: every weight moves alike. Works with any optimizer; one pass over memory."""

    def check(self, optimizer: Optimizer) -> None:
        return

    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        return amount

    def thresholds(self, optimizer: Optimizer) -> Thresholds | None:
        return None if _is_another(self, Euclidean) else _alike


@dataclass(frozen=True)
class OptimizerMetric(KernelMetric):
    """t_i = lr·λ / d_i, with d_i what the optimizer divides the gradient of weight i by.

    d is √v̂ + ε for Adam, AdamW, NAdam and RMSprop, √Σg² + ε for Adagrad and 1 for SGD; RAdam,
    Adamax and torch's Adafactor are known too. Where momentum makes steps longer, as 0.9 makes
    SGD's ten times as long for a gradient that stays, pressure is as much stronger. Here λ has its
    textbook meaning, the one of loss + λ·penalty, whereas in the Euclidean metric it is relative to
    an Adam step of length lr: good values are about a thousand times smaller here.
    Source: Yun, Lozano & Yang, "Adaptive proximal gradient methods for structured neural
    networks" (ProxGen), NeurIPS 2021, algorithm 1.

    Where gradients are far below λ, as on a plateau, t_i is many times the length lr of a step: a
    network that has not begun to learn is emptied before it can. `limit` keeps t_i to that share
    of lr, as if λ were min(λ, limit·d_i) there: no weight is pressed by more than a part of what
    the optimizer takes back in one step. Where its steps become shorter, as Adagrad's do with 1/√n,
    it is that share of a step. Optimizers whose steps have no length of their own, as
    SGD's, know no such limit.

    Args:
        limit: the most that a weight moves, as a share of lr; infinite for the metric as it is.

    Raises:
        ValueError: a limit that is no number above 0.
    """

    limit: float = math.inf

    def __post_init__(self) -> None:
        if self.limit != math.inf and not is_number(self.limit, math.ulp(0.0)):
            raise ValueError(
                f"limit={self.limit!r}: give the share of lr that a weight may be moved by, as 0.1"
            )

    def check(self, optimizer: Optimizer) -> None:
        if update_rule(optimizer) is None:
            raise _unknown(optimizer)

    def threshold(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> float | Tensor:
        rule = _rule(optimizer, group, w)
        relative = relative_step(rule, optimizer, group, w)
        t = divided(rule, optimizer, group, w, amount * relative)
        return self._limited(t, rule, group, state_of(optimizer, w), relative)

    def in_pieces(
        self, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
    ) -> Iterator[tuple[Tensor, float | Tensor]]:
        rule, state, part = _rule(optimizer, group, w), state_of(optimizer, w), local(w)
        if not rule.elementwise:
            yield part, self.threshold(optimizer, group, w, amount)
            return
        moments = {k: v for k, v in state.items() if getattr(v, "shape", None) == part.shape}
        for piece, *parts in pieces(part, *moments.values()):
            some = {**state, **dict(zip(moments, parts, strict=True))}
            yield piece, self._limited(rule.divided(amount, group, some), rule, group, state)

    def _limited(
        self,
        t: float | Tensor,
        rule: UpdateRule,
        group: Group,
        state: State,
        relative: float | Tensor = 1.0,
    ) -> float | Tensor:
        if not rule.adaptive or self.limit == math.inf:
            return t
        most = number(group["lr"]) * relative * self.limit * rule.step_length(group, state)
        if isinstance(t, Tensor) and not isinstance(most, Tensor):
            return t.clamp_(max=most)
        if isinstance(t, Tensor) or isinstance(most, Tensor):
            return torch.minimum(torch.as_tensor(t), torch.as_tensor(most))
        return min(t, most)

    def thresholds(self, optimizer: Optimizer) -> Thresholds | None:
        rule = update_rule(optimizer)
        # One that says by `divided` what it divides by is asked for that.
        own = rule is None or type(rule).divided is not UpdateRule.divided
        if rule is None or own or _is_another(self, OptimizerMetric):
            return None
        return _Thresholds(rule, optimizer, self.limit)


def _is_another(metric: Metric, known: type[Metric]) -> bool:
    """Whether a metric that inherits from a known one says itself how long steps are."""
    names = ("threshold", "in_pieces")
    return any(getattr(type(metric), name) is not getattr(known, name) for name in names)


def _alike(amount: float | Tensor, group: Group, w: Tensor) -> Threshold:
    """All weights of a parameter alike."""
    return Threshold(amount)


class _Thresholds:
    """The proximal steps of an optimizer by its rule, as it is called for each weight and step.

    Whether the rule fits what the optimizer remembers is looked at again whenever that is another.
    """

    def __init__(self, rule: UpdateRule, optimizer: Optimizer, limit: float) -> None:
        self._rule, self._optimizer = rule, optimizer
        self._limit = limit if rule.adaptive else math.inf
        self._fits: dict[int, tuple[Any, int, bool]] = {}

    def __call__(self, amount: float | Tensor, group: Group, w: Tensor) -> Threshold:
        state = self._optimizer.state.get(w) or {}
        known, size, plain = self._fits.get(id(w), (None, 0, False))
        if known is not state or size != len(state):
            _rule(self._optimizer, group, w)
            plain = not any(type(v) is not Tensor for v in state.values() if isinstance(v, Tensor))
            self._fits[id(w)] = state, len(state), plain
        read = state if plain else state_of(self._optimizer, w)
        by = self._rule.threshold(amount, group, read)
        if self._limit == math.inf:
            return by
        most = number(group["lr"]) * self._limit * self._rule.step_length(group, read)
        return Threshold(*by[:4], most)


def _rule(optimizer: Optimizer, group: Group, w: Tensor) -> UpdateRule:
    rule = fitting_rule(optimizer, group, w)
    if rule is None:
        raise _unknown(optimizer)
    return rule


def _unknown(optimizer: Optimizer) -> UnknownMetricError:
    return UnknownMetricError(
        f"metric: {type(optimizer).__name__} has no known metric; leave the form out to go by its "
        "steps, use Euclidean(), or register its rule with "
        "l1prune.pressure.optimizers.update_rule.register"
    )
