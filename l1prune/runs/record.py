"""Record: any Trainer leaves the files that the command line does, for `compare` to read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import yaml  # type: ignore[import-untyped]
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, as_tensor

from l1prune.checks import in_words
from l1prune.runs.baseline import Baseline
from l1prune.runs.folder import RunFolder, is_first, other_run
from l1prune.runs.history import Epochs
from l1prune.runs.monitor import Mode, Monitor, is_evaluation, settled
from l1prune.runs.points import CONFIG, SUMMARY
from l1prune.runs.pruning import pruning_of
from l1prune.runs.summary import summary_of
from l1prune.training import loggers
from l1prune.training.lightning import is_trial
from l1prune.training.naming import DENSE, global_seed, recipe_name
from l1prune.weights.files import check_folder, write_whole
from l1prune.weights.report import SparsityReport
from l1prune.weights.warning import warn
from l1prune.words import both_ends

MOST = 10_000
"""The most characters of a hyper-parameter: of a table in words, `compare` would read no more."""


class RunRecord(Baseline):
    """Leaves what a run came to in a folder, pruned or dense: `l1prune compare FOLDER` reads it.

    The files are those of the command line: `summary.json` (figures, counts, seed, seconds),
    `config.yaml` (the module's hyper-parameters, and what the pruning was told), `report.csv` (the
    layers), `history.csv` (all epochs) and `model.safetensors` (the weights). They are written when
    `fit` ends, with the figures of its last validation; a `test` that follows adds those of the
    test set. What it tests is what is recorded: with `ckpt_path="best"` the best checkpoint. Of a
    `SparsityPath` it is the last network; a `PathCheckpoint` of the same folder adds the others.

    Args:
        folder: of this run alone; made if it is not there. One that holds a finished run is taken
            again for the same settings, as by running a program again, or where `fit` goes on from
            a checkpoint.
        monitor: the validation metric that the run is judged by; None: an accuracy if one is
            logged, else an error, else a loss.
        mode: `"max"` where higher is better, or `"min"`; None: as its name tells.
        recipe: what runs of this kind are called; None: as `conf/prune` calls the like, or dense.

    Raises:
        ValueError: the name does not tell which end is better, and `mode` does not either (at
            once); validation logs no such metric, or none (when it is first run); the folder holds
            a finished run of other settings, or is a file (before the first step).

    Example::

        record = RunRecord("runs/l1-0", monitor="val_mse")
        trainer = L.Trainer(max_epochs=30, callbacks=[L1Pruning(), record])
        trainer.fit(model, data)
        trainer.test(model, data)
    """

    def __init__(
        self,
        folder: str | Path,
        monitor: str | None = None,
        mode: Mode | None = None,
        recipe: str | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.epochs = Epochs(folder)
        self.monitor = None if monitor is None else Monitor.of(monitor, mode)
        self.recipe = recipe
        self._mode = mode
        self._figures: dict[str, Tensor] = {}
        self._seconds = self._began = 0.0
        self._passed = False  # whether an epoch has begun since training has
        self._module: L.LightningModule | None = None
        self._validated: tuple[Mapping[str, float], ...] = ()

    # ---- the run

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        check_folder("RunRecord", self.folder)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        named = self.monitor is not None and not is_evaluation(self.monitor.name)
        if not named and not trainer.enable_validation:
            raise ValueError(
                "RunRecord: there is no validation to judge the run by; give it a validation_step "
                "and data, or name another figure that is logged, as monitor='train_loss'"
            )
        told = self._settings(trainer, pl_module)
        # Here, where whatever tunes a learning rate has done so, and no weight has moved yet.
        goes_on = trainer.global_step > 0 or trainer.ckpt_path is not None
        problem = other_run(self.folder, told) if is_first() and not goes_on else ""
        if problem := trainer.strategy.broadcast(problem):  # the first process decides for all
            raise ValueError(f"RunRecord: {problem}")
        if trainer.global_step == 0:
            self.epochs.rows, self._seconds = {}, 0.0
        self._began, self._passed, self._module = time.monotonic(), False, pl_module
        if trainer.is_global_zero and not is_trial(trainer):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / SUMMARY).unlink(missing_ok=True)  # it will be another, or none
            text = yaml.safe_dump(told)
            write_whole(self.folder / CONFIG, lambda file: file.write_text(text, encoding="utf-8"))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # In the sanity check, if there is one: before anything is trained.
        figures = trainer.callback_metrics
        # In a sanity check a module may log nothing.
        if trainer.state.fn == TrainerFn.FITTING and (figures or not trainer.sanity_checking):
            self._judge(figures)
        super().on_validation_end(trainer, pl_module)

    def _judge(self, figures: Mapping[str, Any]) -> None:
        if self.monitor is None:
            self.monitor = settled(figures, mode=self._mode)
        elif is_evaluation(self.monitor.name):
            settled(figures, self.monitor.name, self.monitor.mode)  # refuses what is not logged

    # No checkpoint to Lightning, which would make none of its own then: it is not called last. What
    # a module logs when its epoch ends is noted when the next one begins.
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs.note(trainer, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch - 1 in self.epochs.rows and self._passed:
            self.epochs.note(trainer, trainer.current_epoch - 1)
        self._passed = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seconds, self._began = self._spent, 0.0
        if self._passed:
            self.epochs.note(trainer, max(self.epochs.rows, default=0))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if is_trial(trainer) or self._module not in (None, pl_module):
            return  # of another network, which was not trained: the trainer was at its end
        self.epochs.write(trainer)
        # A checkpoint that is tested takes `epochs` back to when it was kept.
        self._validated = tuple(self.epochs.rows.values())
        self._figures, self._module = dict(trainer.callback_metrics), pl_module
        for pruning in pruning_of(trainer):
            stages, outcomes = pruning.run.stages, pruning.outcomes
            if stages.goes_back and outcomes:  # what was validated last may be another network
                answer = outcomes[stages.plan.answer(outcomes)]
                self._figures |= {name: as_tensor(value) for name, value in answer.items()}
        reports = [pruning.report for pruning in pruning_of(trainer) if pruning.report]
        super().on_fit_end(trainer, pl_module)
        self._leave(trainer, pl_module, reports[0] if reports else SparsityReport.of(pl_module))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._module is not pl_module or is_trial(trainer):
            return  # another network
        if trainer.ckpt_path is not None:
            self._figures = self._of_checkpoint(trainer)
        self._figures |= trainer.callback_metrics
        reports = [pruning.report for pruning in pruning_of(trainer) if pruning.report]
        super().on_test_end(trainer, pl_module)
        self._leave(trainer, pl_module, _recounted(pl_module, reports))

    def _of_checkpoint(self, trainer: L.Trainer) -> dict[str, Tensor]:
        """What validation said of a checkpoint, as far as the callback that keeps it tells when."""
        for one in trainer.checkpoint_callbacks:
            score, name = getattr(one, "best_model_score", None), getattr(one, "monitor", None)
            kept = getattr(one, "best_model_path", None) == str(trainer.ckpt_path)
            if kept and score is not None and name is not None and is_evaluation(name):
                alike = [row for row in self._validated if row.get(name) == float(score)]
                return {name: as_tensor(score), **_shared(alike)}
        return {}

    # ---- what it leaves

    def _leave(self, trainer: L.Trainer, module: L.LightningModule, report: SparsityReport) -> None:
        folder = RunFolder(self.folder)
        folder.keep(module, report)
        if self.monitor is None or not is_first():
            return
        try:
            if not {self.monitor.name, self.monitor.test} & self._figures.keys():
                raise ValueError(f"{self.monitor.name} was not logged")
            figures = summary_of(self._figures, report, self.monitor, global_seed(), self._seconds)
        except ValueError as error:  # the run itself is over, and keeps what else it has
            warn(f"{self.folder} has no {SUMMARY}: {error}")
        else:
            folder.end(figures)
            loggers.summarise(trainer.loggers, report, figures)

    def _settings(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
        """What the run was told, as a tree of plain values."""
        pruning = next(iter(pruning_of(trainer)), None)
        data: Any = getattr(trainer, "datamodule", None)
        recipe = recipe_name(pruning.recipe) if pruning else DENSE
        labels = {
            "data": type(data).__name__ if data is not None else None,
            "model": type(module).__name__,
            "prune": self.recipe or recipe,
        }
        return {
            "data": _plain(getattr(data, "hparams", {})),
            "labels": labels,
            "model": _plain(module.hparams),
            "prune": dict(pruning.recipe.words) if pruning else None,
            "seed": global_seed(),
            "trainer": {"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps},
        }

    @property
    def _spent(self) -> float:
        return self._seconds + (time.monotonic() - self._began if self._began else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self.epochs.state_dict(), "seconds": self._spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs.load_state_dict(state_dict)
        super().load_state_dict(state_dict)
        self._seconds = state_dict["seconds"]


def _recounted(module: L.LightningModule, reports: list[SparsityReport]) -> SparsityReport:
    """The counts of a network now, of the weights that were pruned."""
    now = SparsityReport.of(module)
    if not reports:
        return now
    counts = {layer.name: layer for layer in now.layers}
    layers = tuple(counts.get(layer.name, layer) for layer in reports[0].layers)
    return replace(reports[0], layers=layers, total=now.total)


def _plain(value: Any) -> Any:
    """A setting as YAML has it: mappings, plain values, and all else in words."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return both_ends(value, MOST) if isinstance(value, str) else value
    return both_ends(in_words(value), MOST)


def _shared(rows: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """The figures of validation that some epochs have in common."""
    first, *others = rows or [{}]
    return {
        name: as_tensor(value)
        for name, value in first.items()
        if is_evaluation(name) and all(row.get(name) == value for row in others)
    }
