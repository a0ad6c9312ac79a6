"""Refit: a network trained on few columns, as long as rows that are held back say so."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from l1prune.checks import is_number, is_whole
from l1prune.features.path import Losses, batches, validated
from l1prune.features.rows import Rows


@dataclass(frozen=True)
class Refit:
    """How a network is trained.

    Args:
        epochs: passes over the rows, at most.
        patience: how many of them without a lower validation loss end it.
        batch_size: rows.
        least_steps: of the whole training, however few the rows are.
        lr: Adam's learning rate.

    Raises:
        ValueError: one of them is no number > 0.
    """

    epochs: int = 200
    patience: int = 20
    batch_size: int = 64
    least_steps: int = 1000
    lr: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size", "least_steps"):
            if not is_whole(getattr(self, name), 1):
                raise ValueError(f"Refit({name}={getattr(self, name)!r}): give a whole number ≥ 1")
        if not is_number(self.lr, 0) or self.lr == 0:
            raise ValueError(f"Refit(lr={self.lr!r}): give a number > 0")


def refit(
    model: nn.Module,
    losses: Losses,
    train: Rows,
    check: Rows,
    recipe: Refit,
    generator: np.random.RandomState,
) -> int:
    """Train a network in place, and leave it as it was at its least validation loss.

    Returns:
        How many epochs it took.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
    size = min(recipe.batch_size, len(train))
    steps = max(len(train) // size, recipe.least_steps // recipe.epochs)
    rows = batches(len(train), size, generator)
    least, best, best_epoch = float("inf"), copy.deepcopy(model.state_dict()), 0
    epoch = 0
    for epoch in range(1, recipe.epochs + 1):
        for _ in range(steps):
            x, y = train.batch(next(rows))
            optimizer.zero_grad()
            torch.autograd.backward(losses(model(x), y).mean())
            optimizer.step()
        loss, _ = validated(model, losses, check)
        if loss < least:
            least, best, best_epoch = loss, copy.deepcopy(model.state_dict()), epoch
        if epoch - best_epoch >= recipe.patience:
            break
    model.load_state_dict(best)
    return epoch
