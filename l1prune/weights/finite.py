"""Finite: whether weights are numbers still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from l1prune.checks import DivergenceError
from l1prune.weights.blocks import blocks_of
from l1prune.weights.shards import holders_of_parts, local, over_shards


def check_finite(weights: Mapping[str, Tensor], when: str) -> None:
    """Refuse NaN and infinity. All processes call it together, and on all of them it raises.

    Args:
        weights: by name.
        when: they are looked at.

    Raises:
        DivergenceError: one of them is not finite.

    >>> check_finite({"head": torch.tensor([1.0, torch.nan])}, "before the cut")
    Traceback (most recent call last):
    l1prune.checks.DivergenceError: head holds NaN or infinity: training diverged before the cut
    """
    alike: dict[object, list[str]] = {}
    for name, weight in weights.items():
        alike.setdefault(holders_of_parts(weight), []).append(name)
    groups = [[weights[name] for name in names] for names in alike.values()]
    for names, wrong in zip(alike.values(), _not_finite(groups), strict=True):
        if wrong:
            single = _not_finite([[weights[name]] for name in names])
            name = next(name for name, bad in zip(names, single, strict=True) if bad)
            raise DivergenceError(f"{name} holds NaN or infinity: training diverged {when}")


def first_nan(layers: Sequence[Tensor]) -> int | None:
    """The number of the first of some tensors that holds NaN; None if none does.

    >>> first_nan([torch.ones(2), torch.tensor([1.0, torch.nan])])
    1
    """
    blocks = [block for block in blocks_of(layers, [None] * len(layers)) if block.values.numel()]
    # NaN, if there is one; on one device, so as to wait once.
    least = [block.values.amin().float().to(layers[0].device) for block in blocks]
    if not least or not bool(torch.stack(least).isnan().any()):
        return None
    return next(number for number, layer in enumerate(layers) if bool(layer.isnan().any()))


def _not_finite(groups: Sequence[Sequence[Tensor]]) -> list[bool]:
    """Of each group of weights that are spread alike, whether one of them is not finite."""
    if not groups:
        return []
    wrong = []
    for group in groups:
        parts = [_real(local(weight.detach())) for weight in group]
        blocks = [block.values for block in blocks_of(parts, [None] * len(parts))]
        bounds = [bound for values in blocks if values.numel() for bound in values.aminmax()]
        good = [bound.isfinite() for bound in bounds] or [parts[0].new_ones(()).bool()]
        here = good[0].device  # a network may lie on several
        wrong.append((~torch.stack([one.to(here) for one in good])).sum())
    likes = [group[0] for group in groups]
    return [bool(count) for count in over_shards(wrong, likes).tolist()]


def _real(values: Tensor) -> Tensor:
    return torch.view_as_real(values) if values.is_complex() else values
