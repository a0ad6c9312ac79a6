"""A trainer for Lightning's BoringModel, short and without a word."""

from __future__ import annotations

from typing import Any

import lightning as L

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def boring_trainer(*callbacks: L.Callback, epochs: int = 1, **options: Any) -> L.Trainer:
    """Of two batches an epoch, without validation."""
    length = {"limit_train_batches": 2, "limit_val_batches": 0, "log_every_n_steps": 1}
    plan: dict[str, Any] = QUIET | length | options
    return L.Trainer(max_epochs=epochs, callbacks=list(callbacks), **plan)
