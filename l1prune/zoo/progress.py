"""What a run shows while it trains: phase, pressure and sparsity beside the accuracy."""

from __future__ import annotations

import sys
from math import ceil
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from l1prune.callback import L1Pruning

LINES = 20
"""About so many lines tell a run's story where there is no terminal to draw a bar on."""


class RunProgress(ProgressBar):
    """One bar for the whole run; about twenty lines instead where stderr is not a terminal.

    Args:
        refresh_rate: batches between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 20) -> None:
        super().__init__()
        self.refresh_rate = refresh_rate
        self.enabled = True
        self._bar: Tqdm | None = None

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.enabled and sys.stderr.isatty():
            total = trainer.num_training_batches * (trainer.max_epochs or 0)
            self._bar = Tqdm(total=total, unit="step", dynamic_ncols=True, leave=False)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        done = trainer.fit_loop.total_batch_idx + 1
        if self._bar is not None and done % self.refresh_rate == 0:
            self._bar.set_postfix_str(story(trainer), refresh=False)
            self._bar.update(done - self._bar.n)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = trainer.max_epochs or 1
        epoch = trainer.current_epoch + 1
        due = epoch % ceil(epochs / LINES) == 0 or epoch == epochs
        if self.enabled and self._bar is None and due:
            self.print(f"epoch {epoch}/{epochs}  {story(trainer)}", file=sys.stderr)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def pruning_of(trainer: L.Trainer) -> list[L1Pruning]:
    """What prunes in this run: one callback, or none in a dense run."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, L1Pruning)]


def story(trainer: L.Trainer) -> str:
    """The state of a run in one line, as far as it is known."""
    parts = [
        f"{one.phase}  λ {one.strength:.1e}" if one.phase == "press" else one.phase
        for one in pruning_of(trainer)
    ]
    for name, metric in (("sparsity", "params/sparsity"), ("val/accuracy", "val/accuracy")):
        if metric in trainer.callback_metrics:
            parts.append(f"{name} {100 * float(trainer.callback_metrics[metric]):.1f} %")
    return "  ".join(parts)
