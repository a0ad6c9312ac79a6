"""Pruning of features: `L1Pruning` with whole inputs of one layer as its units."""

from __future__ import annotations

from typing import Any

from l1prune.cuts.counts import Count
from l1prune.features.places import FIRST
from l1prune.penalties.group import GroupL1
from l1prune.training.callback import L1Pruning
from l1prune.weights.rules import First


def keep_features(k: int | float = 20, layer: str = FIRST, **arguments: Any) -> L1Pruning:
    """The callback that leaves exactly `k` of the inputs of a layer, and its other layers alone.

    `GroupL1(dim=1)` presses whole columns, `Count(k)` cuts them; all else is as in `L1Pruning`.

    Args:
        k: how many stay, or which share of them.
        layer: whose inputs they are, a shell pattern; `"first"` is the first layer.
        arguments: of `L1Pruning`; what is not None is in the place of the above.

    >>> pruning = keep_features(5)
    >>> pruning.recipe.threshold, pruning.recipe.targets
    (Count(units=5), [First(rule='*', factor=1.0, most=1)])
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    targets = [First() if layer == FIRST else layer]
    usual = {"threshold": Count(k), "penalty": GroupL1(dim=1), "targets": targets}
    return L1Pruning(**{**usual, **given})


def selects_inputs(pruning: L1Pruning) -> bool:
    """Whether what a callback removes are whole inputs of the layers that it names.

    >>> selects_inputs(keep_features(5)), selects_inputs(L1Pruning())
    (True, False)
    """
    recipe = pruning.recipe
    return recipe.targets is not None and getattr(recipe.penalty, "dim", None) == 1
