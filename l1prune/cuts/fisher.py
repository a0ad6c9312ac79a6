"""Fisher: the mean of a weight's squared gradients, as they are of late.

Adam and its relatives sum up squared gradients and forget them slowly: a thousand steps, for Adam.
Many a run has not many more, and a network that is being pruned changes faster. What the sums of
two moments differ by belongs to the steps between them, so that the mean of the last steps is known
without a pass over the data.

Source: the diagonal of the empirical Fisher information, Martens, "New insights and perspectives on
the natural gradient method", JMLR 2020, section 11; sums that forget: Kingma & Ba, "Adam", 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from l1prune.pressure.optimizers import Squares
from l1prune.weights.shards import gathered, spread
from l1prune.weights.targets import Target

KEPT = 0.5
"""What a mean counts at the next moment, beside the mean of the steps since."""


@dataclass(frozen=True)
class Fisher:
    """The mean of the squared gradients of the last steps, and what the next one needs.

    Args:
        mean: for each weight.
        total: the sum of squares, up to the last step.
        steps: that were summed up.
    """

    mean: Tensor
    total: Tensor
    steps: float


Fishers = dict[str, Fisher]
"""By name; of a sharded weight, sharded as it is."""


def renewed(now: Squares, before: Fisher | None = None) -> Fisher:
    """The mean as it is now: half that of the steps since `before`, half what it was then.

    Without a `before`, or where weight or optimizer have begun anew since, it is the mean over all
    steps, as the optimizer remembers them: v̂. Where it has taken no step since, it is what it was.

    >>> import torch
    >>> first = renewed(Squares(torch.tensor([9.0]), memory=1.0, steps=1))
    >>> renewed(Squares(torch.tensor([9.0 + 1.0]), memory=1.0, steps=2), first).mean
    tensor([5.])
    """
    since = steps_since(now, before)
    total = now.total
    if before is None or since is None:
        return Fisher(total / _weight(now.memory, now.steps), total, now.steps)
    if since == 0:
        return before
    new = total - before.total * now.memory**since
    new.clamp_(min=0)  # rounding may leave less than nothing
    # Each operation is rounded by itself, on any machine.
    new.mul_(share_of_new(now.memory, since)).add_(before.mean * KEPT)
    return Fisher(new, total, now.steps)


def steps_since(now: Squares, before: Fisher | None) -> float | None:
    """How many; None where nothing goes on from `before`."""
    if before is None or now.steps < before.steps or now.average.shape != before.total.shape:
        return None
    return now.steps - before.steps


def share_of_new(memory: float, since: float) -> float:
    """What a sum of the squares of so many steps is multiplied by, to be the new half of a mean."""
    return (1 - KEPT) / _weight(memory, since)


def _weight(memory: float, steps: float) -> float:
    """Σ_j β^(n−j) over n steps."""
    return (1 - memory**steps) / (1 - memory) if memory < 1 else steps


def packed(fishers: Fishers) -> dict[str, dict[str, Any]]:
    """For a checkpoint: whole tensors, on the CPU. Processes with shards call it together."""
    return {
        name: {
            # Copies: the next cut writes to what was saved.
            "mean": gathered(fisher.mean).to("cpu", copy=True),
            "total": gathered(fisher.total).to("cpu", copy=True),
            "steps": fisher.steps,
        }
        for name, fisher in fishers.items()
    }


def unpacked(packed: Mapping[str, Mapping[str, Any]], targets: Iterable[Target]) -> Fishers:
    """What `packed` packed, where the targets are.

    >>> from torch import nn, ones
    >>> one = {"w": Fisher(mean=ones(1), total=ones(1), steps=1.0)}
    >>> unpacked(packed(one), [Target("w", nn.Parameter(ones(1)))]) == one
    True
    """

    def part(whole: Tensor, w: Tensor) -> Tensor:
        return spread(whole.to(w.device, copy=True), w)  # the next cut writes to it

    fishers = {}
    for target in targets:
        if target.name in packed:
            one, w = packed[target.name], target.parameter
            fishers[target.name] = Fisher(part(one["mean"], w), part(one["total"], w), one["steps"])
    return fishers
