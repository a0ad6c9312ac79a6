"""Moments: what optimizers, or we ourselves, remember of the gradients of each weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.fisher import Fishers
from l1prune.cuts.renewal import renewed_root
from l1prune.pressure.gradients import EPS, Gradients
from l1prune.pressure.optimizers import (
    Group,
    Squares,
    divisor,
    innermost,
    told,
)
from l1prune.weights.shards import local
from l1prune.weights.targets import Target


@dataclass(frozen=True)
class Moments:
    """What is remembered of the gradients of a weight; of a sharded one, local parts.

    Args:
        long: their root mean square, √f + ε.
        short: the mean of the last ones, m; if it keeps none, `long` again.
        memory: β of that mean: how much of it a step leaves.
    """

    long: Tensor
    short: Tensor
    memory: float = 0.0


@dataclass(frozen=True, eq=False)
class Moved:
    """A target as an optimizer moves it."""

    target: Target
    optimizer: Optimizer
    group: Group

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer remembers anything of it."""
        return bool(self.optimizer.state.get(self.target.parameter))


def moved(targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Moved]:
    """The targets as their optimizers move them, wrapped ones included."""
    known = {id(target.parameter): target for target in targets}
    return [
        Moved(known[id(w)], one, group)
        for optimizer in optimizers
        for one in innermost(optimizer)
        for group in one.param_groups
        for w in group["params"]
        if id(w) in known
    ]


def moments(
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers,
    gradients: Gradients,
) -> dict[str, Moments]:
    """What is known of the gradients of each target, by name; nothing of some is said of them.

    Args:
        targets: the weights.
        optimizers: that move them.
        fishers: f by name at the last cut, to be renewed.
        gradients: the moments of those whose optimizers tell none.
    """
    known: dict[str, Moments] = {}
    for one in moved(targets, optimizers):
        name = one.target.name
        if name not in known:
            found = _told(one, fishers) or _noted(one, fishers, gradients)
            known |= {} if found is None else {name: found}
    return known


def _told(moved: Moved, fishers: Fishers) -> Moments | None:
    """What the optimizer tells."""
    w = moved.target.parameter
    found = told(moved.optimizer, moved.group, w) if moved.has_stepped else None
    if found is None:
        return None
    rule, state = found
    long = _root_mean_square(moved, rule.squares(moved.group, state), fishers)
    if long is None:
        return None
    mean = rule.mean(moved.group, state)
    return Moments(long, long) if mean is None else Moments(long, local(mean.value), mean.memory)


def _noted(moved: Moved, fishers: Fishers, gradients: Gradients) -> Moments | None:
    """What was noted of its steps where it tells nothing."""
    w = moved.target.parameter
    squares, mean = gradients.squares(w), gradients.mean(w)
    if squares is None or mean is None:
        return None
    return Moments(_renewed_root(moved, squares, fishers, EPS), local(mean.value), mean.memory)


def _root_mean_square(moved: Moved, known: Squares | None, fishers: Fishers) -> Tensor | None:
    """√f + ε, renewed; what the optimizer divides by where it does not say what it sums up."""
    if known is None:
        return divisor(moved.optimizer, moved.group, moved.target.parameter)
    if not known.steps:  # Adagrad has a state before its first step
        return None
    return _renewed_root(moved, known, fishers, moved.group.get("eps", 0.0))


def _renewed_root(moved: Moved, known: Squares, fishers: Fishers, eps: float) -> Tensor:
    name = moved.target.name
    fishers[name], long = renewed_root(known, fishers.get(name), eps)
    return long
