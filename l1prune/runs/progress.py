"""What a run shows while it trains: phase, pressure and sparsity beside the metric."""

from __future__ import annotations

import sys
from math import ceil
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from l1prune.runs.monitor import Monitor
from l1prune.runs.pruning import pruning_of
from l1prune.training.callback import L1Pruning

LINES = 20
"""About so many lines tell a run's story where there is no terminal to draw a bar on."""


class RunProgress(ProgressBar):
    """One bar for the whole run; about twenty lines instead where stderr is not a terminal.

    The bar has colours unless the environment says `NO_COLOR`, and the time that is left.

    Args:
        refresh_rate: batches between two updates of the bar.
        console: where it is drawn; by default stderr.
        monitor: the metric by which the run is judged; by default `val/accuracy`.
    """

    def __init__(
        self,
        refresh_rate: int = 20,
        console: Console | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        super().__init__()
        self.monitor = monitor or Monitor()
        self.refresh_rate = refresh_rate
        self.console = Console(stderr=True) if console is None else console
        self.enabled = True
        self._bar: Progress | None = None

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.enabled and trainer.ckpt_path is not None:
            at = f"epoch {trainer.current_epoch + 1}{_of(trainer)}, step {trainer.global_step:,}"
            self.print(f"goes on from {trainer.ckpt_path}: {at}", file=sys.stderr)
        if self.enabled and self.console.is_terminal:
            told = TextColumn("{task.description}", markup=False)
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), told)
            self._bar = Progress(*columns, console=self.console, auto_refresh=False, transient=True)
            epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
            known = epochs > 0 and batches != float("inf")
            self._bar.add_task("", total=epochs * batches if known else None)
            self._bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        done = trainer.fit_loop.total_batch_idx + 1
        if self._bar is not None and done % self.refresh_rate == 0:
            (task,) = self._bar.task_ids
            self._bar.update(
                task, completed=done, description=story(trainer, self.monitor), refresh=True
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = max(trainer.max_epochs or 1, 1)  # -1: as many as max_steps takes
        epoch = trainer.current_epoch + 1
        due = epoch % ceil(epochs / LINES) == 0 or epoch == epochs
        if self.enabled and self._bar is None and due:
            self.print(
                f"epoch {epoch}{_of(trainer)}  {story(trainer, self.monitor)}", file=sys.stderr
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _of(trainer: L.Trainer) -> str:
    return f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""


def _phase(pruning: L1Pruning) -> str:
    """What is done to the weights; without pressure they are cut alone."""
    if pruning.phase != "press":
        return pruning.phase
    return f"press  λ {pruning.strength:.1e}" if pruning.strength else "cut"


def story(trainer: L.Trainer, monitor: Monitor) -> str:
    """The state of a run in one line, as far as it is known."""
    parts = [_phase(one) for one in pruning_of(trainer)]
    metrics = trainer.callback_metrics
    if "params/sparsity" in metrics:
        parts.append(f"sparsity {100 * float(metrics['params/sparsity']):.1f} %")
    if monitor.name in metrics:
        parts.append(f"{monitor.name} {monitor.shown(float(metrics[monitor.name]))}")
    return "  ".join(parts)
