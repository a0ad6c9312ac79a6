"""Display: what a run shows to who watches it, in the trainer's own progress bar and at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities import rank_zero_info

from l1prune.cuts.plans import told
from l1prune.training.hooks import Around
from l1prune.training.lightning import callbacks_of
from l1prune.training.run import Run
from l1prune.weights.report import SparsityReport

SPARSITY = "params/sparsity"


class Display:
    """Phase, λ and sparsity in the progress bar of a trainer, while a run lasts.

    The bar asks when it draws itself anyway; sparsity is that of the last validation.

    Args:
        run: what is shown.
        trainer: has the bar, or none.
    """

    def __init__(self, run: Run, trainer: pl.Trainer) -> None:
        self._run = run
        bar = trainer.progress_bar_callback
        self._around = None if bar is None else Around(bar, "get_metrics", self._metrics)

    def _metrics(
        self, metrics: Callable[..., dict[str, Any]], trainer: pl.Trainer, *rest: Any
    ) -> dict[str, Any]:
        return {**state(self._run, trainer), **metrics(trainer, *rest)}

    def remove(self) -> None:
        """Let the bar go."""
        if self._around is not None:
            self._around.remove()


def state(run: Run, trainer: pl.Trainer) -> dict[str, str]:
    """Where a run is, in as few words as fit beside a bar, by their names."""
    shown = {"phase": run.phase}
    if run.phase == "press":
        shown["λ"] = f"{run.pressure:.1e}"
    if SPARSITY in trainer.callback_metrics:
        shown["sparsity"] = f"{100 * float(trainer.callback_metrics[SPARSITY]):.1f}%"
    return shown


def conclude(trainer: pl.Trainer, report: SparsityReport, run: Run) -> None:
    """Say what is left, layer by layer, and what the stages came to, if there were several.

    Once, on the first process, where Lightning says what the model was: not with
    `Trainer(enable_model_summary=False)`.
    """
    if any(isinstance(callback, ModelSummary) for callback in callbacks_of(trainer)):
        stages = run.stages
        said = [str(report), *([told(stages.plan, stages.outcomes)] if stages.outcomes else [])]
        rank_zero_info("\n" + "\n\n".join(said))
