"""Remarks: what a person should know of what cuts, and the pressure before them, have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from l1prune.cuts.starved import emptied, remarks
from l1prune.penalties import Penalty, is_separable
from l1prune.training.run import Run
from l1prune.weights.shards import count_nonzero
from l1prune.weights.targets import Target
from l1prune.weights.warning import warn
from l1prune.words import quantity, some_of

SLACK = 0.01
"""By how much of all weights there may be more zeros than were asked for, and nothing is said."""


def remark_on(run: Run, penalty: Penalty, targets: Sequence[Target]) -> None:
    """Say what a run has left with next to nothing in the end, and which layers it spared.

    Args:
        run: has made its last cut.
        penalty: says which weights are one unit.
        targets: the weights.
    """
    single, threshold = is_separable(penalty), run.stages.threshold
    # Layers compare where each weight is a unit of its own.
    by = threshold.with_scope(run.criterion.scope) if single and threshold is not None else None
    for remark in remarks(targets, run.masks, getattr(by, "scope", None)):
        warn(remark)


def remark_on_starved(starved: Sequence[str], masks: Mapping[str, Tensor]) -> None:
    """Say of which layers a cut, or the pressure before it, has left a single weight.

    Args:
        starved: their names.
        masks: what the cut left, by name.
    """
    cut = [name for name in starved if name in masks]
    left = dict(zip(cut, count_nonzero([masks[name] for name in cut]), strict=True))
    if by_cut := [name for name, count in left.items() if count <= 1]:
        warn(f"the cut left a single weight of {some_of(by_cut)}: cut less")
    if by_pressure := [name for name in starved if name not in by_cut]:
        warn(
            "when the last cut was made, pressure had left a single weight of "
            f"{some_of(by_pressure)}, where the cut was to leave more: press less, with a smaller "
            "strength"
        )


def remark_on_emptied(targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
    """Say in the end how many more weights are zero than were cut.

    Args:
        targets: the weights.
        masks: what the last cut left, by name.
    """
    found = emptied(targets, masks)
    zeros = sum(found.values())
    if zeros > SLACK * sum(target.parameter.numel() for target in targets):
        layers = sorted(found, key=lambda name: -found[name])
        warn(
            f"{quantity(zeros, 'weight')} that no cut removed ended as zeros all the same, in "
            f"{some_of(layers, 3)}: what pressure has emptied may not come back. Press less, with "
            "a smaller strength"
        )
