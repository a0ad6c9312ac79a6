"""Processes: which ways to spread a run over many are supported, and which are refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lightning.pytorch as pl
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from l1prune.penalties import Penalty, is_separable
from l1prune.training import averages
from l1prune.weights.shards import is_sharded
from l1prune.weights.targets import Target


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


def check_units(targets: Sequence[Target], penalty: Penalty) -> None:
    """Refuse penalties whose units would be split between processes.

    Raises:
        ValueError: a weight is sharded, and the penalty looks at more than one entry at a time.
    """
    sharded = [target.name for target in targets if is_sharded(target.parameter)]
    if sharded and not is_separable(penalty):
        raise ValueError(
            f"penalty={penalty!r} presses groups of weights, and {sharded[0]} is sharded over "
            "processes, which would split groups; use strategy='ddp', or L1()"
        )
