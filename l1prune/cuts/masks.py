"""Masks: made by `torch.nn.utils.prune`, written into the weights at once, held from then on.

The one file that touches `torch.nn.utils.prune`. A mask is a boolean tensor of the weight's shape,
True where the weight stays: one byte per weight, eight weights a byte in a checkpoint. The mask of
a weight that is sharded over processes is sharded as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import prune
from torch.optim import Optimizer

from l1prune.cuts.plans import Stages
from l1prune.cuts.thresholds import Threshold, as_threshold
from l1prune.penalties import Penalty
from l1prune.weights.bits import mask_
from l1prune.weights.shards import gathered, local, over_shards, part_of, spread
from l1prune.weights.targets import Target

Masks = dict[str, Tensor]


class Cut(prune.BasePruningMethod):
    """The cut as a pruning method of torch: usable with all of `torch.nn.utils.prune`.

    Args:
        threshold: a size to cut below, or a `Threshold`. It sees one flat tensor, so that scopes
            that tell layers apart do so only inside a run of `L1Pruning`.

    >>> from l1prune import Sparsity
    >>> layer = torch.nn.Linear(10, 10)
    >>> prune.global_unstructured([(layer, "weight")], Cut, threshold=Sparsity(0.9))
    >>> int(layer.weight.count_nonzero())
    10
    >>> prune.is_pruned(layer)
    True
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, threshold: float | Threshold) -> None:
        self.threshold = as_threshold(threshold)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask` without what the threshold cuts of `t`."""
        scores = t.detach().abs().masked_fill(default_mask == 0, -1.0)
        (keep,) = self.threshold.keep([scores], [1])
        return default_mask * keep.to(default_mask.dtype)


@torch.no_grad()
def check(targets: Sequence[Target], penalty: Penalty, threshold: Threshold | Stages) -> None:
    """Raise ValueError if these weights cannot be cut this way; takes the arguments of `cut`."""
    units = [penalty.score(target.parameter) for target in targets]
    threshold.check([unit.numel() for unit in units], _sizes(targets, units))


@torch.no_grad()
def cut(
    targets: Sequence[Target],
    penalty: Penalty,
    threshold: Threshold,
    masks: Mapping[str, Tensor] | None = None,
    progress: float = 1.0,
    weighed: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Decide what goes, over all targets together. The weights are not changed yet.

    Args:
        targets: the weights.
        penalty: gives each unit its size: |w|, or the norm of a group.
        threshold: decides by these sizes.
        masks: of earlier rounds: what was removed stays removed.
        progress: how much of the cutting is due, 1 in the last round.
        weighed: by name, of sharded weights the local parts: what is measured in a weight's place.

    Raises:
        ValueError: a weight is not finite, so that its size says nothing.

    >>> from torch import nn; from l1prune import L1, Magnitude, find_targets
    >>> layer = nn.Linear(2, 1); _ = layer.weight.data.copy_(torch.tensor([[0.1, 2.0]]))
    >>> cut(find_targets(layer), L1(), Magnitude(1.0))
    {'weight': tensor([[False,  True]])}
    """
    made = dict(masks or {})
    scores = _scores(targets, penalty, made, weighed or {})
    keeps = threshold.keep(scores, _sizes(targets, scores), progress)
    for target, keep in zip(targets, keeps, strict=True):
        w = local(target.parameter)
        before = local(made[target.name]) if target.name in made else w.new_ones(w.shape).bool()
        method: Any = prune.CustomFromMask(local(keep).expand_as(w))
        mask = method.compute_mask(w, default_mask=before).bool()
        made[target.name] = part_of(mask, target.parameter)
    return made


def _scores(
    targets: Sequence[Target],
    penalty: Penalty,
    masks: Mapping[str, Tensor],
    weighed: Mapping[str, Tensor],
) -> list[Tensor]:
    """Each target's units by size, −1 where they were removed before."""
    _check_finite(targets)
    scores = []
    for target in targets:
        units = penalty.score(weighed.get(target.name, local(target.parameter)))
        if target.name in masks:
            units = units.masked_fill(~_by_unit(local(masks[target.name]), units), -1.0)
        scores.append(part_of(units, target.parameter))
    return scores


def _check_finite(targets: Sequence[Target]) -> None:
    # All processes must find out together: one that raised alone would leave the others waiting.
    weights = [target.parameter for target in targets]
    wrong = over_shards([(~local(w).isfinite()).sum() for w in weights], weights)
    for target, count in zip(targets, wrong.tolist(), strict=True):
        if count:
            raise ValueError(
                f"{target.name} holds NaN or infinity: training diverged before the cut"
            )


def _sizes(targets: Sequence[Target], scores: Sequence[Tensor]) -> list[int]:
    """How many weights one unit of each target holds."""
    return [t.parameter.numel() // max(s.numel(), 1) for t, s in zip(targets, scores, strict=True)]


def _by_unit(mask: Tensor, units: Tensor) -> Tensor:
    """Which units are there still: the mask reduced over the dimensions that a unit spans."""
    spans = [d for d in range(mask.ndim) if units.shape[d] != mask.shape[d]]
    return mask.amax(spans, keepdim=True) if spans else mask


@torch.no_grad()
def hold_(targets: Iterable[Target], masks: Mapping[str, Tensor]) -> None:
    """Write the zeros into the weights, in place."""
    for target in targets:
        if target.name in masks:
            mask_(local(target.parameter), local(masks[target.name]))


@torch.no_grad()
def hold_gradients_(targets: Iterable[Target], masks: Mapping[str, Tensor]) -> None:
    """Zero the gradients of removed weights, so that they do not use up the budget of clipping."""
    for target in targets:
        if target.name in masks and target.parameter.grad is not None:
            mask_(local(target.parameter.grad), local(masks[target.name]))


class Hold:
    """Holds masks against an optimizer: after each of its steps, removed weights are zero again.

    Args:
        optimizer: the optimizer that moves the weights.
        targets: the masked weights.
        masks: by name; what is later added to this mapping is held too.
    """

    def __init__(
        self, optimizer: Optimizer, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        moved = {id(w) for group in optimizer.param_groups for w in group["params"]}
        self._targets = [target for target in targets if id(target.parameter) in moved]
        self._masks = masks
        self._handle = optimizer.register_step_post_hook(self._after)

    def remove(self) -> None:
        """Let the optimizer go."""
        self._handle.remove()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        hold_(self._targets, self._masks)


BITS = 2 ** torch.arange(8, dtype=torch.uint8)


def pack(mask: Tensor) -> Tensor:
    """A boolean mask as bytes of eight weights each, on the CPU, for a checkpoint.

    If it is sharded, all processes call this together, and each gets the whole.

    >>> pack(torch.tensor([True, False, True]))
    tensor([5], dtype=torch.uint8)
    """
    flat = gathered(mask.detach()).cpu().flatten()
    padded = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
    return (padded * BITS).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """The mask of this shape that `pack` packed.

    Raises:
        ValueError: it was packed from another shape.

    >>> unpack(torch.tensor([5], dtype=torch.uint8), (3,))
    tensor([ True, False,  True])
    """
    if packed.dtype != torch.uint8 or packed.shape != (-(-torch.Size(shape).numel() // 8),):
        raise ValueError(
            f"a packed mask of {tuple(packed.shape)} {packed.dtype} bytes is none of a weight of "
            f"the shape {tuple(shape)}: the checkpoint is of another model"
        )
    bits = (packed.unsqueeze(1) & BITS) != 0
    return bits.flatten()[: torch.Size(shape).numel()].reshape(shape)


def pack_all(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks by name, each packed."""
    return {name: pack(mask) for name, mask in masks.items()}


def unpack_all(packed: Mapping[str, Tensor], targets: Iterable[Target]) -> Masks:
    """The masks that `pack_all` packed, of the targets' shapes and where they are."""
    return {
        target.name: spread(
            unpack(packed[target.name], target.parameter.shape).to(target.parameter.device),
            target.parameter,
        )
        for target in targets
        if target.name in packed
    }
