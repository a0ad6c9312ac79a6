"""Moments: what optimizers, or we ourselves, remember of the gradients of each weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.fisher import Fishers
from l1prune.cuts.renewal import renewed_root, restore_
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
        squares: the sum in whose place `long` lies; None: in nobody's.
    """

    long: Tensor
    short: Tensor
    memory: float = 0.0
    squares: Squares | None = None


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


@contextmanager
def moments(
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers,
    gradients: Gradients,
) -> Iterator[dict[str, Moments]]:
    """What is known of the gradients of each target, by name; nothing of some is said of them.

    Root mean squares lie in the places of totals, which are restored when this is left: until then
    they may be written to, and no step be taken.

    Args:
        targets: the weights.
        optimizers: that move them.
        fishers: f by name at the last cut, to be renewed.
        gradients: the moments of those whose optimizers tell none.
    """
    known: dict[str, Moments] = {}
    try:
        for one in moved(targets, optimizers):
            name = one.target.name
            if name not in known:
                about = _told(one, fishers) or _noted(one, fishers, gradients)
                known |= {} if about is None else {name: about}
        yield known
    finally:
        lent = [(fishers[name], m.squares) for name, m in known.items() if m.squares is not None]
        restore_(lent)


def _told(moved: Moved, fishers: Fishers) -> Moments | None:
    """What the optimizer tells."""
    w, group = moved.target.parameter, moved.group
    found = told(moved.optimizer, group, w) if moved.has_stepped else None
    if found is None:
        return None
    rule, state = found
    squares, mean = rule.squares(group, state), rule.mean(group, state)
    long = _root_mean_square(moved, squares, fishers)
    if long is None:
        return None
    if mean is None:
        return Moments(long, long, squares=squares)
    return Moments(long, local(mean.value), mean.memory, squares)


def _noted(moved: Moved, fishers: Fishers, gradients: Gradients) -> Moments | None:
    """What was noted of its steps where it tells nothing."""
    w = moved.target.parameter
    squares, mean = gradients.squares(w), gradients.mean(w)
    if squares is None or mean is None:
        return None
    long = _renewed_root(moved, squares, fishers, EPS)
    return Moments(long, local(mean.value), mean.memory, squares)


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
