"""Masks: made by `torch.nn.utils.prune`, written into the weights at once, held from then on.

The one file that touches `torch.nn.utils.prune`. A mask is a boolean tensor of the weight's shape,
True where the weight stays: one byte per weight, eight weights a byte in a checkpoint. The mask of
a weight that is sharded over processes is sharded as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from l1prune.cuts.plans import Plan
from l1prune.cuts.thresholds import Threshold, as_threshold
from l1prune.cuts.units import units_of
from l1prune.penalties import Penalty
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.passes import Pass
from l1prune.weights.bits import mask_, pack, unpack
from l1prune.weights.finite import check_finite
from l1prune.weights.shards import is_sharded, local, over_shards, part_of, spread
from l1prune.weights.targets import Target


class Masks(dict[str, Tensor]):
    """Masks by the weight's name, True where it stays, saved eight weights a byte.

    What is loaded waits until it is known what weights there are: see `unpack`.
    """

    def __init__(self, *masks: Mapping[str, Tensor]) -> None:
        super().__init__(*masks)
        self._packed: dict[str, Tensor] = {}

    @property
    def names(self) -> set[str]:
        """The weights that have been cut, whether they are there or not."""
        return {*self, *self._packed}

    def state_dict(self) -> dict[str, Tensor]:
        """The masks, packed. Processes with shards call it together."""
        return {**self._packed, **pack_all(self)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._packed = dict(state)

    def unpack(self, targets: Iterable[Target]) -> None:
        """Put what was loaded where the weights are; what is of none of these is forgotten.

        It would be held against whatever came to have that name later.
        """
        self.update(unpack_all(self._packed, targets))
        self._packed = {}

    def renamed(self, names: Mapping[str, str]) -> Masks:
        """Those of some weights, by their names so far, under their names now.

        >>> masks = Masks({"head.weight": torch.ones(2), "gone.weight": torch.ones(3)})
        >>> masks.renamed({"head.weight": "head.inner.weight"})
        {'head.inner.weight': tensor([1., 1.])}
        """
        masks = Masks({names[name]: mask for name, mask in self.items() if name in names})
        masks._packed = self._packed
        return masks


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
def check(targets: Sequence[Target], penalty: Penalty, threshold: Threshold | Plan) -> None:
    """Raise ValueError if these weights cannot be cut this way; takes the arguments of `cut`."""
    units_of(targets, penalty).check(threshold)


@torch.no_grad()
def cut(
    targets: Sequence[Target],
    penalty: Penalty,
    threshold: Threshold,
    masks: Mapping[str, Tensor] | None = None,
    progress: float = 1.0,
    worth: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """Decide what goes, over all targets together. The weights are not changed yet.

    Args:
        targets: the weights.
        penalty: says which weights are one unit, and sums up what they are worth.
        threshold: decides by that.
        masks: of earlier rounds: what was removed stays removed.
        progress: how much of the cutting is due, 1 in the last round.
        worth: what each weight is worth, one tensor for each target, as a `Criterion` weighs them;
            by default its size. It is written to.

    Raises:
        DivergenceError: a weight is not finite, so that its size says nothing.

    >>> from torch import nn; from l1prune import L1, Magnitude, find_targets
    >>> layer = nn.Linear(2, 1); _ = layer.weight.data.copy_(torch.tensor([[0.1, 2.0]]))
    >>> cut(find_targets(layer), L1(), Magnitude(1.0))
    {'weight': tensor([[False,  True]])}
    """
    result = dict(masks or {})
    if worth is None:
        worth = [local(target.parameter).clone() for target in targets]
    check_finite({target.name: target.parameter for target in targets}, "before the cut")
    units = units_of(targets, penalty)
    keeps = units.keep(threshold, units.scores(worth, result), progress)
    for target, keep in zip(targets, keeps, strict=True):
        w = local(target.parameter)
        before = local(result[target.name]) if target.name in result else None
        if before is None:
            before = torch.ones_like(w, dtype=torch.bool)
        method: Any = prune.CustomFromMask(local(keep).expand_as(w))
        mask = method.compute_mask(w, default_mask=before).bool()
        result[target.name] = part_of(mask, target.parameter)
    return result


@torch.no_grad()
def hold_(
    targets: Iterable[Target], masks: Mapping[str, Tensor], dispatch: Dispatch | None = None
) -> None:
    """Write the zeros into the weights, in place.

    Args:
        targets: the weights.
        masks: by name.
        dispatch: finds the kernel; one that is kept from step to step saves time.
    """
    if not masks:
        return
    passes = []
    for target in targets:
        if target.name in masks:
            w = local(target.parameter)
            mask = local(masks[target.name])
            if mask.device != w.device:  # a trainer that ends moves the model
                mask = mask.to(w.device)
            passes.append(Pass(w, mask=mask))
    (Dispatch() if dispatch is None else dispatch).run(passes)


@torch.no_grad()
def hold_saved_(state: Mapping[str, Any], masks: Mapping[str, Tensor]) -> None:
    """Write the zeros into what is saved of a model, in place; what is sharded is left as it is."""
    for name, mask in masks.items():
        saved = state.get(name)
        if not isinstance(saved, Tensor) or is_sharded(saved) or is_sharded(mask):
            continue
        if saved.shape == mask.shape:
            mask_(saved, mask.to(saved.device))


@torch.no_grad()
def hold_copy_(copy: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Write the zeros into another copy of the model, in place, on whatever device it is."""
    for name, parameter in copy.named_parameters():
        if name in masks:
            mask_(local(parameter), local(masks[name]).to(parameter.device))


@torch.no_grad()
def moved(targets: Iterable[Target], masks: Mapping[str, Tensor]) -> list[str]:
    """The weights, by name, of which an entry that was removed is not zero.

    Processes with shards call it together.

    >>> from torch import nn, ones, zeros
    >>> target = Target("w", nn.Parameter(ones(2)))
    >>> moved([target], {"w": zeros(2).bool()}), moved([target], {"w": ones(2).bool()})
    (['w'], [])
    """
    masked = [target for target in targets if target.name in masks]
    if not masked:
        return []
    weights = [target.parameter for target in masked]
    counts = [
        ((w := local(target.parameter)) != 0)
        .logical_and_(~local(masks[target.name]).to(w.device))
        .count_nonzero()  # `sum` would make integers of eight bytes of them first
        for target in masked
    ]
    found = over_shards(counts, weights).tolist()
    return [target.name for target, count in zip(masked, found, strict=True) if count]


@torch.no_grad()
def hold_gradients_(targets: Iterable[Target], masks: Mapping[str, Tensor]) -> None:
    """Zero the gradients of removed weights, so that they do not use up the budget of clipping."""
    gradients = ((target.parameter.grad, masks.get(target.name)) for target in targets)
    # A sparse one has entries for the rows that were looked up alone.
    Dispatch().run(
        [
            Pass(local(gradient), mask=local(mask))
            for gradient, mask in gradients
            if mask is not None and gradient is not None and not gradient.is_sparse
        ]
    )


def pack_all(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks by name, each packed."""
    return {name: pack(mask) for name, mask in masks.items()}


def unpack_all(packed: Mapping[str, Tensor], targets: Iterable[Target]) -> dict[str, Tensor]:
    """The masks that `pack_all` packed, of the targets' shapes and where they are."""
    return {
        target.name: spread(
            unpack(packed[target.name], target.parameter.shape).to(target.parameter.device),
            target.parameter,
        )
        for target in targets
        if target.name in packed
    }
