"""Clipping: whether a step's gradients are clipped, so that removed ones must not count."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.utilities.model_helpers import is_overridden


def clips_gradients(trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
    """Whether the coming step may clip: only then does a removed weight's gradient matter."""
    return (
        trainer.gradient_clip_val is not None
        or not pl_module.automatic_optimization  # which clips, if at all, by itself
        or is_overridden("configure_gradient_clipping", pl_module)
    )
