"""Saliency: how much a weight matters, by its size and by how the loss holds on to it.

Source: LeCun, Denker & Solla, "Optimal brain damage", NeurIPS 1989: removing weight w costs about
h·w²/2, with h the curvature of the loss. The mean of the squared gradients, f, stands in for h (see
`l1prune.cuts.fisher`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.fisher import Fishers, renewed, squares
from l1prune.cuts.scopes import LAMP, Saliency
from l1prune.cuts.thresholds import Sparsity, Threshold
from l1prune.pressure.metrics import Group, divisor
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Moments:
    """What an optimizer remembers of the gradients of a weight; of a sharded one, local parts.

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
    targets: Sequence[Target], optimizers: Sequence[Optimizer], fishers: Fishers | None = None
) -> Weights:
    """Weights, each times the root mean square of its gradients: by name.

    That is √f + ε, times its layer's `freshness`. A weight that no optimizer moves counts as if its
    gradients were those of the average one. Empty is the answer if the optimizers remember no
    squares, as SGD, or are not known to.

    Args:
        targets: the weights.
        optimizers: that move them.
        fishers: f by name at the last cut, to be renewed; where there is none, f is v̂.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.0)
    >>> layer(torch.tensor([1.0, 100.0])).sum().backward(); optimizer.step()
    >>> made = weights([Target("weight", layer.weight)], [optimizer])
    >>> gradients = made["weight"] / layer.weight
    >>> bool((gradients / gradients[0, 0]).allclose(torch.tensor([1.0, 100.0])))
    True
    """
    moments = _moments(targets, optimizers, {} if fishers is None else fishers)
    known = [target for target in targets if target.name in moments]
    if not known:
        return {}
    fresh = freshness([target.parameter for target in known], [moments[t.name] for t in known])
    made = {
        target.name: local(target.parameter) * moments[target.name].long * factor
        for target, factor in zip(known, fresh, strict=True)
    }
    rest = [target for target in targets if target.name not in made]
    if not rest:
        return made
    sums = [
        torch.stack([made[t.name].double().abs().sum(), local(t.parameter).double().abs().sum()])
        for t in known
    ]
    times, plain = over_shards(sums, [target.parameter for target in known]).sum(0).tolist()
    average = times / plain if plain else 0.0
    return made | {target.name: local(target.parameter) * average for target in rest}


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
    sums = [
        torch.stack([mean.double().square().sum() for mean in (each.long, each.short)])
        for each in moments
    ]
    factors = []
    for each, (long, short) in zip(moments, over_shards(sums, parameters).tolist(), strict=True):
        ratio = short / max(long, 1e-300) * (1 + each.memory) / (1 - each.memory)
        # A layer without any gradient now keeps an order among its weights.
        factors.append(max(ratio, 1e-6) ** 0.5)
    return factors


def _moments(
    targets: Sequence[Target], optimizers: Sequence[Optimizer], fishers: Fishers
) -> dict[str, Moments]:
    named = {id(target.parameter): target.name for target in targets}
    moved = [
        (optimizer, group, w)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for w in group["params"]
        if optimizer.state.get(w)
    ]
    made: dict[str, Moments] = {}
    for optimizer, group, w in moved:
        name = named.get(id(w))
        if name is None or name in made:
            continue
        long = _root_mean_square(name, optimizer, group, w, fishers)
        if long is not None:
            short, betas = optimizer.state[w].get("exp_avg"), group.get("betas")
            made[name] = (
                Moments(long, local(short), float(betas[0]))
                if short is not None and betas
                else Moments(long, long)
            )
    return made


def _root_mean_square(
    name: str, optimizer: Optimizer, group: Group, w: Tensor, fishers: Fishers
) -> Tensor | None:
    """√f + ε, renewed; what the optimizer divides by where it does not say what it sums up.

    None where it knows nothing: Adagrad has a state before its first step.
    """
    known = squares(optimizer, group, optimizer.state[w])
    if known is None:
        return divisor(optimizer, group, w)
    if not known.steps:
        return None
    fishers[name] = renewed(known, fishers.get(name))
    return local(fishers[name].mean).sqrt().add_(group["eps"])


def measured(
    threshold: Threshold,
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers | None = None,
) -> tuple[Threshold, Mapping[str, Tensor]]:
    """A threshold whose scope is settled, and what it measures instead of the weights.

    Where the scope is left open, layers compare by `Saliency()` if that is known, or by `LAMP()`.
    `fishers` are those of the last cut, and are renewed.
    """
    scope: Any = getattr(threshold, "scope", LAMP())
    if not isinstance(threshold, Sparsity) or not isinstance(scope, Saliency | None):
        return threshold, {}
    known = weights(targets, optimizers, fishers)
    return replace(threshold, scope=(scope or Saliency()) if known else LAMP()), known
