"""Hugging Face: a run of pruning as a callback of the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, IntervalStrategy

from l1prune.training.pruning import Pruning, PruningRun
from l1prune.weights.report import SparsityReport

FILE = "pruning.pt"
"""What a checkpoint's folder holds of the run."""


class HFPruning(TrainerCallback):
    """Walks the Trainer of transformers through pressure, cuts and fine-tuning.

    Steps, accumulation, clipping and the learning rate's schedule are those of its arguments. Each
    evaluation may end a stage, where the threshold has several: `Budget("eval_accuracy", 0.005)`.
    Each checkpoint holds the run, which goes on with `trainer.train(resume_from_checkpoint=True)`.
    What the Trainer keeps as the best, and has patience with, is among networks that have arrived.

    Args:
        pruning: the recipe; by default `Pruning()`.

    Attributes:
        run: the run, from the beginning of the training on.
        report: exact counts, after it.

    Raises:
        ValueError: when training begins: the recipe does not fit, or the checkpoint has no run.
    """

    def __init__(self, pruning: Pruning | None = None) -> None:
        self.pruning = Pruning() if pruning is None else pruning
        self.run: PruningRun | None = None
        self.report: SparsityReport | None = None
        self._had_arrived = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        lr_scheduler: LRScheduler | None = None,
        **_: Any,
    ) -> None:
        if self.run is not None:
            self.run.close()  # the last training may have been interrupted
        assert model is not None and optimizer is not None, "the Trainer hands them over"
        self.report, self._had_arrived = None, False
        per_pass = max(state.max_steps // max(state.num_train_epochs, 1), 1)
        every = {
            IntervalStrategy.NO: None,
            IntervalStrategy.EPOCH: per_pass,
            IntervalStrategy.STEPS: int(state.eval_steps or per_pass),
        }
        self.run = self.pruning.attached(
            model,
            optimizer,
            steps=state.max_steps,
            steps_per_pass=per_pass,
            schedulers=() if lr_scheduler is None else [lr_scheduler],
            clips=args.max_grad_norm > 0,
            steps_per_validation=every[IntervalStrategy(args.eval_strategy)],
        )
        if state.global_step:
            self.run.load_state_dict(torch.load(_saved(args, state), weights_only=True))
            self._had_arrived = self.run.arrived

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        assert self.run is not None, "training has begun"
        if not self._had_arrived:  # what was best so far is no network that the run is for
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None
        self._had_arrived = self.run.arrived

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if self.run is not None and self.report is None:
            self.run.validated(metrics or {})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        assert self.run is not None, "training has begun"
        saved = self.run.state_dict()
        if state.is_world_process_zero:
            torch.save(saved, _folder(args, state) / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        assert self.run is not None, "training has begun"
        self.run.end()
        self.report = self.run.report


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir), f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


def _saved(args: TrainingArguments, state: TrainerState) -> Path:
    """What was saved of the run that goes on, in the folder of its checkpoint."""
    given = args.resume_from_checkpoint
    folders = [Path(given)] if isinstance(given, str) else []
    for folder in (*folders, _folder(args, state)):
        if (folder / FILE).is_file():
            return folder / FILE
    raise ValueError(
        f"the training goes on from step {state.global_step}, and {_folder(args, state)} has no "
        f"{FILE}: resume from a checkpoint of output_dir that was saved with HFPruning, or begin "
        "a new training from its weights"
    )
