"""What a run in stages leaves: a network for each of them, and the curve through all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from l1prune.checks import is_number
from l1prune.cuts.plans import Outcome
from l1prune.runs import picture
from l1prune.runs.monitor import Mode, Monitor, is_evaluation
from l1prune.runs.points import judged_point
from l1prune.runs.pruning import pruning_of
from l1prune.runs.stages import FRONTIER, read_path
from l1prune.runs.summary import rounded
from l1prune.training.loggers import X_AXIS
from l1prune.weights.files import check_folder, replace
from l1prune.weights.shards import is_sharded
from l1prune.weights.warning import warn


class PathCheckpoint(Checkpoint):
    """Keeps the network that each stage of `L1Pruning` ends with, and draws the curve.

    Of a plan that looks for one network, as `Budget` does, it keeps none.

    Leaves, for a stage that ends with 95 % of the weights gone, `path/95.00.ckpt`: the weights,
    which load into the plain model; one that ends within 0.01 % of another has more digits in its
    name. `frontier.json` has one entry for each, with `sparsity`,
    `params/nonzero`, the figures of its validation and the name of its file; `frontier.png` is the
    picture of it.

    Args:
        folder: where they go.
        monitor: the validation metric that is drawn.
        mode: `"max"` where higher is better, or `"min"`; None: as its name tells.

    Raises:
        ValueError: the name does not tell it, and `mode` does not either; the folder is a file
            (before the first step).

    Example, for a `trainer` with `callbacks=[L1Pruning(threshold=SparsityPath()), path]`::

        path = PathCheckpoint("runs/a")
        trainer.fit(model, data)
    """

    def __init__(
        self, folder: str | Path, monitor: str = "val/accuracy", mode: Mode | None = None
    ) -> None:
        self.folder = Path(folder)
        self.monitor = Monitor.of(monitor, mode)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        check_folder("PathCheckpoint", self.folder)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # No earlier: until then another callback may refuse to train in this folder.
        if trainer.global_step == 0 and trainer.is_global_zero:
            (self.folder / FRONTIER).unlink(missing_ok=True)  # of another run

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        for pruning in pruning_of(trainer):
            if pruning.run.stages.ended and not pruning.run.stages.goes_back:
                left = int(trainer.callback_metrics[X_AXIS])
                file = file_names(outcome["sparsity"] for outcome in pruning.outcomes)[-1]
                trainer.save_checkpoint(self.folder / file, weights_only=True)
                if trainer.is_global_zero:
                    self._note(pruning.outcomes[-1], left, file)

    def _note(self, outcome: Outcome, left: int, file: str) -> None:
        kept = [stage for stage in read_path(self.folder) if stage["checkpoint"] != file]
        figures = {name: value for name, value in outcome.items() if is_evaluation(name)}
        stage = {"sparsity": outcome["sparsity"], X_AXIS: left, **figures, "checkpoint": file}
        _write(sorted([*kept, stage], key=lambda one: one["sparsity"]), self.folder)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stages = [one for one in read_path(self.folder) if is_number(one.get(self.monitor.name))]
        if trainer.is_global_zero and stages:
            judge = {"monitor": self.monitor.name, "mode": self.monitor.mode}
            points = [judged_point(stage["checkpoint"], "path", stage | judge) for stage in stages]
            try:
                picture.draw(points, self.folder / "frontier.png")
            except ImportError as error:  # the run has all that it is for
                warn(f"no frontier.png: {error}")


def test_path(
    trainer: pl.Trainer, model: pl.LightningModule, data: Any, folder: str | Path
) -> None:
    """Test the network of each stage, and add the figures to `frontier.json`.

    The model keeps its weights, and loggers are not told.

    Args:
        trainer: has trained the model.
        model: what it has trained.
        data: a `LightningDataModule`, or loaders of test data.
        folder: of the `PathCheckpoint`.
    """
    stages = read_path(folder)
    if not stages:
        return
    loggers, trainer.loggers = trainer.loggers, []
    final = {name: value.clone() for name, value in model.state_dict().items()}
    for stage in stages:
        kept = torch.load(Path(folder) / stage["checkpoint"], "cpu", weights_only=True)
        _load(model, kept["state_dict"])
        (tested,) = trainer.test(model, data, verbose=False)
        stage |= tested
    model.load_state_dict(final)
    trainer.loggers = loggers
    if trainer.is_global_zero:
        _write(stages, Path(folder))


def file_names(sparsities: Iterable[float]) -> list[str]:
    """A name for the network of each stage: in percent, with the digits that tell it from others.

    Args:
        sparsities: that the stages ended with, in their order. The name of one does not depend on
            those after it.

    >>> file_names([0.5, 0.9999, 0.99994, 0.5])
    ['path/50.00.ckpt', 'path/99.99.ckpt', 'path/99.994.ckpt', 'path/50.00-2.ckpt']
    """
    names: dict[str, float] = {}
    for sparsity in sparsities:
        exact = (f"{100 * sparsity:.{digits}f}" for digits in range(2, 15))
        twins = (f"{100 * sparsity:.2f}-{n}" for n in count(2))
        candidates = twins if sparsity in names.values() else chain(exact, twins)
        names[next(name for name in candidates if name not in names)] = sparsity
    return [f"path/{name}.ckpt" for name in names]


def _write(stages: list[dict[str, Any]], folder: Path) -> None:
    part = folder / f"{FRONTIER}.part"
    part.write_text(json.dumps([*map(rounded, stages)], indent=2) + "\n", encoding="utf-8")
    replace(part, folder / FRONTIER)


def _load(model: nn.Module, weights: dict[str, Any]) -> None:
    if not any(is_sharded(parameter) for parameter in model.parameters()):
        model.load_state_dict(weights)
        return
    from torch.distributed.checkpoint import state_dict as distributed

    whole = distributed.StateDictOptions(full_state_dict=True)
    distributed.set_model_state_dict(model, weights, options=whole)
