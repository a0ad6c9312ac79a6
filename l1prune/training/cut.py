"""One cut of a run: what goes is decided on all processes alike, and noted in the run's masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from l1prune.cuts import masks
from l1prune.penalties import Penalty
from l1prune.training.run import Run
from l1prune.weights.shards import check_agreement, local, place
from l1prune.weights.targets import Target


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
