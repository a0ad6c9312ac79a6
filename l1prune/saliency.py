"""Saliency: how much a weight matters, by its size and by how the loss holds on to it.

Source: LeCun, Denker & Solla, "Optimal brain damage", NeurIPS 1989: removing weight w costs about
h·w²/2, with h the curvature of the loss. Adam and its relatives keep the mean of the squared
gradients, v̂, which stands in for h (the diagonal of the empirical Fisher information).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.metrics import weighed
from l1prune.scopes import LAMP, Saliency
from l1prune.shards import local, over_shards
from l1prune.targets import Target
from l1prune.thresholds import Sparsity, Threshold

Weights = dict[str, Tensor]


@torch.no_grad()
def weights(targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> Weights:
    """Weights, each times what its optimizer divides its gradient by, √v̂ + ε: by name.

    A weight that no optimizer moves counts as if it were divided as the average one is. Empty is
    the answer if the optimizers divide none, as SGD, or are not known to.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.0)
    >>> layer(torch.tensor([1.0, 100.0])).sum().backward(); optimizer.step()
    >>> made = weights([Target("weight", layer.weight)], [optimizer])
    >>> bool((made["weight"] / layer.weight).allclose(torch.tensor([1.0, 100.0])))
    True
    """
    made: Weights = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            mine = {id(w) for w in group["params"]}
            for target in targets:
                if id(target.parameter) in mine:
                    w = weighed(optimizer, group, target.parameter)
                    made |= {} if w is None else {target.name: w}
    known = [target for target in targets if target.name in made]
    if not known:
        return {}
    parts = [local(target.parameter) for target in known]
    sums = [
        torch.stack([made[target.name].double().abs().sum(), w.double().abs().sum()])
        for target, w in zip(known, parts, strict=True)
    ]
    divided, plain = over_shards(sums, [target.parameter for target in known]).sum(0).tolist()
    average = divided / plain if plain else 0.0
    rest = (target for target in targets if target.name not in made)
    return made | {target.name: local(target.parameter) * average for target in rest}


def measured(
    threshold: Threshold, targets: Sequence[Target], optimizers: Sequence[Optimizer]
) -> tuple[Threshold, Mapping[str, Tensor]]:
    """A threshold whose scope is settled, and what it measures instead of the weights.

    Where the scope is left open, layers compare by `Saliency()` if that is known, or by `LAMP()`.
    """
    scope: Any = getattr(threshold, "scope", LAMP())
    if not isinstance(threshold, Sparsity) or not isinstance(scope, Saliency | None):
        return threshold, {}
    known = weights(targets, optimizers)
    return replace(threshold, scope=(scope or Saliency()) if known else LAMP()), known
