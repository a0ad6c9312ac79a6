"""Other ways to prune, as callbacks that scripts/train.py takes like this library's own.

`--config-dir scripts/benchmarks/conf` makes them choices of `prune`; `benchmarks.pat` has the one
that needs torchao.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import wraps
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelPruning
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim import Optimizer

from l1prune import L1Pruning, Sparsity, find_targets, once
from l1prune.pressure.forms import Form, Step


@dataclass(frozen=True)
class Elsewhere(Form):
    """The pressure comes from elsewhere: nothing happens around the optimizer's step."""

    def check(self, optimizer: Optimizer) -> None:
        return

    def after(self, step: Step) -> None:
        return


class L1Loss(L1Pruning):
    """λ·Σ|w| in the loss, as one writes it in `training_step`; one cut, then fine-tuning.

    The cut and the masks that are held after it are this library's.
    """

    def __init__(self, strength: float, threshold: Sparsity, prune_at: float = 0.6) -> None:
        super().__init__(strength, threshold, prune_at=once(prune_at), form=Elsewhere())

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        plain = pl_module.training_step
        weights = [target.parameter for target in find_targets(pl_module)]

        @wraps(plain)
        def training_step(*batch: Any) -> Tensor:
            loss: Tensor = plain(*batch)
            if self.phase == "press":
                loss = loss + self.strength * sum(w.abs().sum() for w in weights)
            return loss

        pl_module.training_step = training_step  # type: ignore[method-assign]


class GradualModelPruning(ModelPruning):
    """Lightning's own callback, at each epoch's end within a window, to an exact number of zeros.

    Global and by magnitude. Its amount is meant for what is left after the last time, so a share
    would compound: it is asked for the very number of weights that are due instead, by the cubic
    of Zhu and Gupta. It does not rewind the survivors, as it would by default.

    Its checkpoints hold no masks, and a run that goes on from one loses the zeros: they are kept
    here.
    """

    def __init__(self, threshold: Sparsity, start: float = 0.1, stop: float = 0.6) -> None:
        super().__init__(
            "l1_unstructured",
            parameter_names=["weight"],
            amount=self.due,
            use_lottery_ticket_hypothesis=False,
            make_pruning_permanent=True,
        )
        self.threshold = threshold
        self.start, self.stop = start, stop
        self.epochs = 0
        self._kept: list[Tensor] = []

    @property
    def masks(self) -> list[Tensor]:
        """As torch has them, 1 where a weight stays; none before the first cut."""
        found = (getattr(module, f"{name}_mask", None) for module, name in self.pruned)
        return [mask for mask in found if mask is not None]

    @property
    def pruned(self) -> list[tuple[nn.Module, str]]:
        """The weights that it prunes: where they are and what they are called there."""
        return list(self._parameters_to_prune)

    def due(self, epoch: int) -> int:
        """How many weights go at the end of this epoch."""
        share = ((epoch + 1) / self.epochs - self.start) / (self.stop - self.start)
        weights = sum(getattr(module, name).numel() for module, name in self.pruned)
        zeros = self.threshold.share(min(max(share, 0.0), 1.0)) * weights
        # The tolerance forgives 0.07 · 100 > 7, as `Sparsity` does.
        return math.ceil(zeros - 1e-9 * weights) - sum(int((m == 0).sum()) for m in self.masks)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self.epochs = trainer.max_epochs or 1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for (module, name), mask in zip(self.pruned, self._kept, strict=False):
            prune.custom_from_mask(module, name, mask)
        self._kept = []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING:
            left = sum(int(getattr(module, name).count_nonzero()) for module, name in self.pruned)
            pl_module.log("params/nonzero", float(left))

    def state_dict(self) -> dict[str, Any]:
        return {"masks": [mask.bool() for mask in self.masks]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._kept = state_dict["masks"]
