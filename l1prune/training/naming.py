"""Naming: what a recipe is called where runs are compared, as `conf/prune` calls it."""

from __future__ import annotations

import os
import re
from typing import Any

from l1prune.training.recipe import Recipe
from l1prune.training.strength import Controller

DENSE = "dense"
SEED = "PL_GLOBAL_SEED"
"""Where `seed_everything` leaves the seed."""
SHORT = {"sparsity_path": "path", "channel_l1": "channels", "elastic_net": "elastic"}


def recipe_name(recipe: Recipe) -> str:
    """The name of a recipe: by its plan where it has stages, else by what presses, or how it cuts.

    >>> from l1prune import L1Pruning, SparsityPath
    >>> recipe_name(L1Pruning().recipe), recipe_name(L1Pruning(threshold=SparsityPath()).recipe)
    ('l1', 'path')
    >>> recipe_name(L1Pruning(strength=0).recipe), recipe_name(L1Pruning(0, prune_at=[0.5]).recipe)
    ('gradual', 'magnitude')
    """
    several = len(recipe.plan.ends) > 1
    if not several and _is_zero(recipe.strength):
        return "gradual" if len(recipe.prune_at) > 1 else "magnitude"
    kind = type(recipe.plan if several else recipe.penalty).__name__
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    return SHORT.get(words, words)


def _is_zero(strength: Any) -> bool:
    """Whether it is 0, or a schedule that never leaves it."""
    if isinstance(strength, (int, float)):
        return strength == 0
    if isinstance(strength, Controller):
        return False
    return callable(strength) and not any(strength(share) for share in (0, 0.25, 0.5, 0.75, 1))


def run_name(recipe: str, nonzero: int | None = None, prunable: int | None = None) -> str:
    """What a run is: its recipe, its size where that is known, and the seed.

    >>> run_name("l1", 50, 1000).split(" seed")[0], run_name("dense", 9, 9).split(" seed")[0]
    ('l1 5 %', 'dense')
    """
    size = (
        f" {100 * nonzero / prunable:.2g} %" if nonzero and prunable != nonzero and prunable else ""
    )
    seed = global_seed()
    return f"{recipe}{size}" + ("" if seed is None else f" seed {seed}")


def global_seed() -> int | None:
    """The seed that `seed_everything` was given last; None without one."""
    text = os.environ.get(SEED, "")
    return int(text) if text.isdecimal() else None
