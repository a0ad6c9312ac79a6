"""Processes: which ways to spread a run over many are supported, and which are refused, and why."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from l1prune.training import averages


def check_strategy(strategy: Strategy, callbacks: Iterable[pl.Callback] = ()) -> None:
    """Refuse strategies that keep the weights where they cannot be pressed.

    Raises:
        ValueError: FSDP1, DeepSpeed, or FSDP2 with an average of the weights among the callbacks.
    """
    found = averages.names_of(callbacks)
    if found and isinstance(strategy, ModelParallelStrategy):
        raise ValueError(
            f"callbacks: {found[0]} copies the model, which FSDP2 does not allow; train "
            "without it, or with strategy='ddp'"
        )
    if isinstance(strategy, FSDPStrategy):
        raise ValueError(
            "strategy: FSDP1 (strategy='fsdp') flattens the weights of many layers into one "
            "parameter, so that no layer can be told from another; use FSDP2, which is "
            "ModelParallelStrategy() with fully_shard in configure_model, or strategy='ddp'"
        )
    if isinstance(strategy, DeepSpeedStrategy):
        raise ValueError(
            "strategy: DeepSpeed steps on flat copies of its own of the weights, which pressure "
            "and masks do not reach; use strategy='ddp', or ModelParallelStrategy() for FSDP2"
        )
