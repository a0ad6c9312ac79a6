"""Counted: the weights of a model that a report counts, whoever pruned it, or nobody."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.prune import is_pruned

from l1prune.checks import NoWeightsError
from l1prune.weights.targets import Target, Targets, find_targets


@torch.no_grad()
def counted(model: nn.Module) -> Targets:
    """Those that could be pruned, and those under a mask of torch, as they are under it.

    Args:
        model: any, one without a weight that could be pruned too.

    >>> from torch.nn.utils import prune
    >>> layer = nn.Linear(4, 2)
    >>> _ = prune.l1_unstructured(layer, "weight", amount=6)
    >>> [(target.name, int(target.parameter.count_nonzero())) for target in counted(layer)]
    [('weight', 2)]
    """
    try:
        found = find_targets(model)
        free, skipped = tuple(found), found.skipped
    except NoWeightsError as error:
        free, skipped = (), error.skipped
    masked = dict(_masked(model))
    others = {name: reason for name, reason in skipped.items() if name not in masked}
    return Targets((*free, *masked.values()), others)


def _masked(model: nn.Module) -> Iterator[tuple[str, Target]]:
    """By the name of the parameter, weights of two dimensions or more, each once."""
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        path, _, own = name.rpartition(".")
        module, stem = modules[path], own.removesuffix("_orig")
        mask = module._buffers.get(f"{stem}_mask")
        if stem != own and mask is not None and parameter.ndim > 1 and is_pruned(module):
            weight = nn.Parameter(parameter * mask, requires_grad=False)
            yield name, Target(name.removesuffix("_orig"), weight)
