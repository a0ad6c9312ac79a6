"""Splits: rows of a table that are learned from, and rows that are held out."""

from __future__ import annotations

import torch
from torch import Tensor

TEST, VALIDATION = 0.2, 0.125
"""The share of the rows that are tested on; that of the others that validate."""

LEAST = 6
"""The fewest rows of which those shares are a row each."""


def held_out(rows: Tensor, order: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows that are kept and rows that are held out, alike in the order of a target.

    Sorted by their target, equals at random, every so-manieth row is held out: each class loses
    the same share, and so does each part of the range of a number.

    Args:
        rows: of a table.
        order: the target of all its rows.
        share: of the rows that is held out, in (0, 1).
        seed: of the randomness.

    >>> labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    >>> kept, held = held_out(torch.arange(8), labels, 0.25, seed=0)
    >>> len(kept), labels[held].tolist()
    (6, [0, 1])
    """
    source = torch.Generator().manual_seed(seed)
    mixed = rows[torch.randperm(len(rows), generator=source)]
    ranked = mixed[torch.argsort(order[mixed], stable=True)]
    place = torch.arange(len(rows), dtype=torch.float64) + 0.5
    held = ((place * share + 0.5).floor() - ((place - 1) * share + 0.5).floor()) > 0
    return ranked[~held], ranked[held]
