"""Pruning of features: `L1Pruning` with whole inputs of one layer as its units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from typing_extensions import Unpack

from l1prune.cuts.counts import Count
from l1prune.cuts.criteria import Criterion
from l1prune.features.entries import check_groups
from l1prune.features.penalty import FeaturePenalty
from l1prune.features.places import FIRST
from l1prune.penalties.group import GroupL1
from l1prune.pressure.forms import Proximal
from l1prune.pressure.metrics import Euclidean
from l1prune.pressure.optimizers import update_rule
from l1prune.pressure.schedules import Linear
from l1prune.training.callback import L1Pruning
from l1prune.training.recipe import Arguments
from l1prune.weights.rules import First

SHARE = Linear(0.0, 0.5)
"""Which share of an adaptive optimizer's step pressure takes back from each input until the cut."""


@dataclass(frozen=True)
class StepLength(Euclidean):
    """t = lr·λ, of optimizers whose steps are about lr long: λ is which share of a step goes back.

    So the same λ is as much for a table of thirty columns as for one of a thousand, whatever the
    size of their gradients. In an optimizer whose steps have no length of their own, as SGD's, it
    would mean nothing, and is refused.
    """

    def check(self, optimizer: Optimizer) -> None:
        """Raise ValueError if the optimizer's steps have no length of their own."""
        rule = update_rule(optimizer)
        if rule is None or not rule.adaptive:
            raise ValueError(
                f"features are pressed by a share of a step, and {type(optimizer).__name__} has "
                "steps of no known length, as Adam's have: give a strength, as strength=1e-4, "
                "which is then that of L1Pruning"
            )


def keep_features(
    k: int | float = 20,
    layer: str = FIRST,
    groups: Mapping[str, Sequence[int]] | Sequence[Sequence[int]] | None = None,
    *,
    criterion: Criterion | None = None,
    **arguments: Unpack[Arguments],
) -> L1Pruning:
    """The callback that leaves exactly `k` features of a layer, and its other layers alone.

    A feature is an input, or a group of them that stay or go together, as the one-hot inputs of a
    variable do. `GroupL1(dim=1)` presses whole columns, or `FeaturePenalty` groups of them;
    `Count(k)` cuts them. Where neither `strength` nor `form` is given, the share of an optimizer's
    step that pressure takes back (`StepLength`) grows from 0 to a half until the last cut; all else
    is as in `L1Pruning`.

    Args:
        k: how many stay, or which share of them.
        layer: whose inputs they are, a shell pattern; `"first"` is the first layer.
        groups: lists of inputs that are one feature; those in none are a feature each; or, by
            name, the inputs of every feature, as the `features` of a table are. A penalty that is
            given presses them as it does columns.
        criterion: of `L1Pruning`.
        arguments: of `L1Pruning`; what is not None is in the place of the above.

    Raises:
        ValueError: an argument makes no sense; or, before the first step, an input is in two
            groups, or in one and not there.

    >>> pruning = keep_features(5)
    >>> pruning.recipe.threshold, pruning.recipe.targets
    (Count(units=5), [First(rule='*', factor=1.0, most=1)])
    >>> keep_features(5, groups={"age": [0], "colour": [1, 2, 3]}).recipe.penalty
    FeaturePenalty(penalty=L1(), layer='first', groups=[[1, 2, 3]])
    """
    given: dict[str, Any] = {n: value for n, value in arguments.items() if value is not None}
    every = [*groups.values()] if isinstance(groups, Mapping) else groups
    check_groups(every)
    several = [[*one] for one in every or () if len(one) > 1]
    penalty = given.get("penalty", GroupL1(dim=1))
    usual: dict[str, Any] = {"threshold": Count(k), "penalty": penalty}
    if several and not isinstance(penalty, FeaturePenalty):  # which has groups of its own
        given["penalty"] = FeaturePenalty(getattr(penalty, "single", penalty), layer, several)
    else:
        usual["targets"] = [First() if layer == FIRST else layer]
    if not {"strength", "form"} & {*given}:
        usual |= {"strength": SHARE, "form": Proximal(StepLength())}
    return L1Pruning(criterion=criterion, **{**usual, **given})


def selects_inputs(pruning: L1Pruning) -> bool:
    """Whether what a callback removes are whole inputs of the layers that it names.

    >>> selects_inputs(keep_features(5)), selects_inputs(L1Pruning())
    (True, False)
    """
    recipe = pruning.recipe
    columns = recipe.targets is not None and getattr(recipe.penalty, "dim", None) == 1
    return columns or isinstance(recipe.penalty, FeaturePenalty)
