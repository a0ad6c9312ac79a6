"""Torch-Pruning's GroupNormPruner, as a callback that scripts/train.py takes. Needs torch-pruning.

As its authors prune CIFAR networks (Fang et al., 2023): the norms of groups are pressed through the
gradients, the smallest groups of the whole network are cut out once, and what is left is tuned.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch_pruning as tp
from torch import Tensor, nn


class GroupNorm(L.Callback):
    """Presses until a share of the run is over, then removes channels for good.

    Args:
        left: the share of the multiply-accumulates that is left.
        strength: its `reg`.
        prune_at: when, as a share of the run.
    """

    def __init__(self, left: float, strength: float = 1e-4, prune_at: float = 0.6) -> None:
        self.left, self.strength, self.prune_at = left, strength, prune_at
        self._pruner: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network, example = pl_module.network, pl_module.example_input_array
        *_, head = (one for one in network.modules() if isinstance(one, nn.Linear))
        self._pruner = tp.pruner.GroupNormPruner(
            network,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=2, normalizer="max"),
            reg=self.strength,
            global_pruning=True,
            pruning_ratio=1.0,
            max_pruning_ratio=0.9,  # each stream keeps a tenth, as `Cost` does
            iterative_steps=400,
            ignored_layers=[head],
        )
        self._pruner.update_regularizer()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._pruner is not None:
            self._pruner.regularize(pl_module.network)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        done = trainer.global_step / trainer.estimated_stepping_batches
        if self._pruner is None or done < self.prune_at:
            return
        network, example = pl_module.network.eval(), pl_module.example_input_array
        dense = _macs(network, example)
        while _macs(network, example) > self.left * dense:
            self._pruner.step()
        network.train()
        self._pruner = None
        _begin_again(trainer)


def _macs(network: nn.Module, example: Tensor) -> float:
    return float(tp.utils.count_ops_and_params(network, example)[0])


def _begin_again(trainer: L.Trainer) -> None:
    """New optimizers for what are new parameters; the learning rate goes on where it was."""
    trainer.strategy.setup_optimizers(trainer)
    for config in trainer.lr_scheduler_configs:
        config.scheduler.last_epoch = trainer.global_step
        for group, rate, factor in zip(
            config.scheduler.optimizer.param_groups,
            config.scheduler.base_lrs,
            config.scheduler.lr_lambdas,
            strict=True,
        ):
            group["lr"] = rate * factor(trainer.global_step)
