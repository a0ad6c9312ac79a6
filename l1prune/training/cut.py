"""One cut of a run: what goes is decided on all processes alike, and noted in the run's masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from l1prune.cuts import masks
from l1prune.cuts.starved import remarks
from l1prune.penalties import Penalty, is_separable
from l1prune.training.run import Run
from l1prune.weights.shards import check_agreement, local, place
from l1prune.weights.targets import Target
from l1prune.weights.warning import warn


@torch.no_grad()
def cut_(
    run: Run,
    penalty: Penalty,
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    progress: float,
) -> None:
    """Decide what goes, and put it into the masks of the run.

    The zeros are not written yet; where the criterion refits what stays, that is changed.

    Args:
        run: in the phase in which cuts are due.
        penalty: says which weights are one unit.
        targets: the weights.
        optimizers: that move them.
        progress: how much of the cutting is due, 1 in the last round.

    Raises:
        ValueError: a weight is not finite.
        RuntimeError: processes disagree.
    """
    threshold = run.stages.threshold
    assert threshold is not None, "not in the phase in which cuts are due"
    by = threshold.with_scope(run.criterion.scope)
    with run.criterion.weighed(targets, optimizers) as worth:
        cut = masks.cut(targets, penalty, by, run.masks, progress, worth)
    if place()[1] > 1:
        check_agreement(cut, {target.name: target.parameter.detach() for target in targets})
    run.masks.update(cut)
    run.criterion.refit_(targets, cut)
    # What pressure made −0.0, and the cut leaves, is +0.0.
    torch._foreach_add_([local(target.parameter) for target in targets], 0.0)


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
