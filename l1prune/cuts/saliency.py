"""Saliency: how much a weight matters, by its size and by how the loss holds on to it.

Source: LeCun, Denker & Solla, "Optimal brain damage", NeurIPS 1989: removing weight w costs about
h·w²/2, with h the curvature of the loss. The mean of the squared gradients, f, stands in for h (see
`l1prune.cuts.fisher`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.checks import is_number
from l1prune.cuts.criteria import FollowingCriterion, Size
from l1prune.cuts.fisher import Fishers, packed, renewed, unpacked
from l1prune.cuts.ranks import by_rank
from l1prune.cuts.scopes import LAMP, Global, Scope
from l1prune.pressure.gradients import EPS, Gradients
from l1prune.pressure.optimizers import (
    Group,
    Squares,
    UpdateRule,
    divisor,
    fitting_rule,
    innermost,
    sharded_state_of,
)
from l1prune.weights.pieces import pieces, widest
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target
from l1prune.weights.warning import warn


class Saliency(FollowingCriterion):
    """A weight is worth what the loss would lose with it: |w|·(√f + ε).

    f is the mean of the squared gradients of the steps since the last cut, each cut before it
    counting half as much as the one after; it is taken from what Adam, AdamW, NAdam, RAdam, RMSprop
    and Adagrad sum up. Adamax and Adafactor tell by what they divide. For SGD and all others, whose
    memory tells nothing of it, squares are summed up here while `follow` is entered, in two floats
    for each weight. Between layers, the means of the last gradients tell how large they are now.
    Nothing changes when a layer is scaled and the one after it scaled back, so layers compare as
    they are.

    Saliency foretells what removing one weight costs. What a layer costs as a whole it
    underestimates: the fewer weights a branch beside a skip has left, the less the loss holds on to
    them, until it is gone. So each layer keeps a share of what its shape asks for.

    Args:
        least: that share, in [0, 1]; see `l1prune.cuts.scopes.densities`.

    Raises:
        ValueError: `least` is no share; when training starts: there is no optimizer.
    """

    def __init__(self, least: float = 0.6) -> None:
        if not is_number(least, 0, 1):
            raise ValueError(
                f"least must be a share from 0 to 1 of what a layer's shape asks for, got {least!r}"
            )
        self.least = least
        self._fishers: Fishers = {}
        self._packed: dict[str, dict[str, Any]] = {}
        self._gradients = Gradients()
        self._warned = False

    def __repr__(self) -> str:
        return f"Saliency(least={self.least})"

    @property
    def scope(self) -> Scope:
        return Global(self.least)

    def check(self, optimizers: Sequence[Optimizer]) -> None:
        if not optimizers:
            raise ValueError(
                f"criterion={self!r} goes by the gradients of the steps that an optimizer takes, "
                "and there is none; return one from configure_optimizers, or give criterion=Size()"
            )

    def follow(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[None]:
        return self._gradients.follow(targets, optimizers)

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        self._unpack(targets)
        known = weights(targets, optimizers, self._fishers, self._gradients)
        if known:
            return [known[target.name] for target in targets]
        self._warn(targets, optimizers)
        # None has taken a step that it remembers: sizes, compared as they compare best.
        sizes = Size().weigh(targets, optimizers)
        return [LAMP().comparable(size.abs()) for size in sizes]

    def _warn(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> None:
        """Say once that steps have been taken whose gradients nobody has seen."""
        moved = _moved(targets, optimizers)
        names = {type(one.optimizer).__name__ for one in moved if one.has_stepped}
        if names and not self._warned:
            self._warned = True
            warn(
                f"criterion: the gradients of the steps of {', '.join(sorted(names))} were not "
                "seen, so weights compare by their sizes; have it step by its method step, or give "
                "criterion=Size()"
            )

    def state_dict(self) -> dict[str, Any]:
        fishers = {**self._packed, **packed(self._fishers)}
        return {"fishers": fishers, "gradients": self._gradients.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._packed = state["fishers"]
        self._gradients.load_state_dict(state["gradients"])

    def _unpack(self, targets: Sequence[Target]) -> None:
        self._fishers.update(unpacked(self._packed, targets))
        self._packed = {n: one for n, one in self._packed.items() if n not in self._fishers}


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


@torch.no_grad()
def weights(
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers | None = None,
    gradients: Gradients | None = None,
) -> dict[str, Tensor]:
    """Weights, each times the root mean square of its gradients: by name.

    That is √f + ε, times its layer's `freshness`. A layer without gradients has what weights of the
    same rank have in the others: see `by_rank`. Empty is the answer if nothing is known of any.

    Args:
        targets: the weights.
        optimizers: that move them.
        fishers: f by name at the last cut, to be renewed; where there is none, f is v̂.
        gradients: the moments of those whose optimizers tell none.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.0)
    >>> layer(torch.tensor([1.0, 100.0])).sum().backward(); optimizer.step()
    >>> worth = weights([Target("weight", layer.weight)], [optimizer])
    >>> gradients = worth["weight"] / layer.weight
    >>> bool((gradients / gradients[0, 0]).allclose(torch.tensor([1.0, 100.0])))
    True
    """
    fishers = {} if fishers is None else fishers
    moments = _moments(targets, optimizers, fishers, gradients or Gradients())
    known = [target for target in targets if target.name in moments]
    if not known:
        return {}
    fresh = freshness([target.parameter for target in known], [moments[t.name] for t in known])
    worth = {
        target.name: local(target.parameter) * moments[target.name].long * factor
        for target, factor in zip(known, fresh, strict=True)
    }
    rest = [target for target in targets if target.name not in worth]
    return worth | by_rank(rest, known, [worth[target.name] for target in known])


def freshness(parameters: Sequence[Tensor], moments: Sequence[Moments]) -> list[float]:
    """By how much each layer's gradients are larger now than f says.

    In a network that is being pruned some layers become bottlenecks, whose gradients grow from one
    cut to the next. m remembers ten steps. Over a whole layer its mean square tells how large they
    are now: mean-free gradients of variance σ² leave in m one of σ²·(1 − β)/(1 + β). 1 where there
    is no m.

    >>> long = torch.full((1, 4), 0.1)
    >>> short = torch.tensor([[0.3, -0.3, 0.3, -0.3]]) * ((1 - 0.9) / (1 + 0.9)) ** 0.5
    >>> [round(factor, 3) for factor in freshness([long], [Moments(long, short, memory=0.9)])]
    [3.0]
    """
    sums = [torch.stack([_squared(each.long), _squared(each.short)]) for each in moments]
    factors = []
    for each, (long, short) in zip(moments, over_shards(sums, parameters).tolist(), strict=True):
        ratio = short / max(long, 1e-300) * (1 + each.memory) / (1 - each.memory)
        # A layer without any gradient now keeps an order among its weights.
        factors.append(max(ratio, 1e-6) ** 0.5)
    return factors


def _squared(values: Tensor) -> Tensor:
    """Σx², summed up in the widest float."""
    total = torch.zeros((), dtype=widest(values.device), device=values.device)
    for (piece,) in pieces(values):
        wide = piece.to(total.dtype).flatten()
        total += torch.dot(wide, wide)
    return total


@dataclass(frozen=True, eq=False)
class _Moved:
    """A target as an optimizer moves it."""

    target: Target
    optimizer: Optimizer
    group: Group

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer remembers anything of it."""
        return bool(self.optimizer.state.get(self.target.parameter))


def _moved(targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[_Moved]:
    known = {id(target.parameter): target for target in targets}
    return [
        _Moved(known[id(w)], one, group)
        for optimizer in optimizers
        for one in innermost(optimizer)
        for group in one.param_groups
        for w in group["params"]
        if id(w) in known
    ]


def _moments(
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers,
    gradients: Gradients,
) -> dict[str, Moments]:
    known: dict[str, Moments] = {}
    for moved in _moved(targets, optimizers):
        name = moved.target.name
        if name not in known:
            found = _told(moved, fishers) or _noted(moved, fishers, gradients)
            known |= {} if found is None else {name: found}
    return known


def _told(moved: _Moved, fishers: Fishers) -> Moments | None:
    """What the optimizer tells."""
    w = moved.target.parameter
    rule = fitting_rule(moved.optimizer, moved.group, w) if moved.has_stepped else None
    long = None if rule is None else _root_mean_square(moved, rule, fishers)
    if rule is None or long is None:
        return None
    mean = rule.mean(moved.group, sharded_state_of(moved.optimizer, w))
    return Moments(long, long) if mean is None else Moments(long, local(mean.value), mean.memory)


def _noted(moved: _Moved, fishers: Fishers, gradients: Gradients) -> Moments | None:
    """What was noted of its steps where it tells nothing."""
    w = moved.target.parameter
    squares, mean = gradients.squares(w), gradients.mean(w)
    if squares is None or mean is None:
        return None
    return Moments(_renewed_root(moved, squares, fishers, EPS), local(mean.value), mean.memory)


def _root_mean_square(moved: _Moved, rule: UpdateRule, fishers: Fishers) -> Tensor | None:
    """√f + ε, renewed; what the optimizer divides by where it does not say what it sums up."""
    w = moved.target.parameter
    known = rule.squares(moved.group, sharded_state_of(moved.optimizer, w))
    if known is None:
        return divisor(moved.optimizer, moved.group, w)
    if not known.steps:  # Adagrad has a state before its first step
        return None
    return _renewed_root(moved, known, fishers, moved.group.get("eps", 0.0))


def _renewed_root(moved: _Moved, known: Squares, fishers: Fishers, eps: float) -> Tensor:
    name = moved.target.name
    fishers[name] = renewed(known, fishers.get(name))
    return local(fishers[name].mean).sqrt().add_(eps)
