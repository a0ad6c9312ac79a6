"""torchao's PAT, a proximal lasso, as a callback that scripts/train.py takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
from torch import nn
from torch.optim import Optimizer
from torchao.prototype.pat import PruneOptimizer

from benchmarks.rivals import Elsewhere
from l1prune import L1Pruning, Sparsity, find_targets, once


class ClosureFirst(PruneOptimizer):  # type: ignore[misc]
    """PAT where the closure is the training step, as Lightning has it.

    PAT puts the dense weights back before it calls a closure, so that a loss computed there would
    never see a zero. Here the loss and its gradients are those of the sparse weights, as in the
    plain loops of its documentation.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        super().step()
        return loss


class PAT(L1Pruning):
    """PAT's lasso on single weights, one cut, and PAT's own healing as the fine-tuning.

    `strength` is its `reg_lambda`. The cut is this library's; what is zero then stays so by the
    masks of both.
    """

    def __init__(self, strength: float, threshold: Sparsity, prune_at: float = 0.6) -> None:
        super().__init__(strength, threshold, prune_at=once(prune_at), form=Elsewhere())
        self.reg_lambda = strength

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            make = pl_module.make_optimizer
            pl_module.make_optimizer = lambda _: self.around(make, pl_module)  # type: ignore[assignment]

    def around(self, make: Callable[[Iterable[Any]], Optimizer], model: nn.Module) -> Optimizer:
        """PAT around the model's optimizer, with the weights in a group of their own."""
        pressed = [target.parameter for target in find_targets(model)]
        chosen = {id(weight) for weight in pressed}
        others = [weight for weight in model.parameters() if id(weight) not in chosen]
        lasso = {"prox_type": "ProxLasso", "group_type": "ElemGrouper"}
        return ClosureFirst(
            make([{"params": pressed, **lasso}, {"params": others}]), reg_lambda=self.reg_lambda
        )

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self.phase == "tune":
            for optimizer in trainer.optimizers:
                assert isinstance(optimizer, PruneOptimizer)
                optimizer.healing_start_step = min(
                    optimizer.healing_start_step, optimizer.num_steps
                )
