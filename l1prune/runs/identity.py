"""Identity: which run a folder is of, and each checkpoint in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml  # type: ignore[import-untyped]
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import flat
from l1prune.runs.points import CONFIG, SUMMARY
from l1prune.weights.files import write_whole

DECIDE = ("data", "model", "prune", "seed")
"""The settings that make it this run and no other."""
ID = ".id"
OTHER = "another folder, as hydra.run.dir=FOLDER, to begin another"
SAME = f"give the same settings to go on with it, or {OTHER}"


class RunIdentity(pl.Callback):
    """Writes into each checkpoint which run it is of, and lets a run go on from none of another.

    The settings come into the folder, and the summary of an earlier end leaves it, when training
    begins: by then everything that may refuse the run has been asked. From then on the folder has
    to stay where it is.

    Args:
        folder: of the run. Its id is drawn once, when a run first trains there.
        settings: plain values only.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.settings = settings
        self.id = read_id(self.folder / ID)
        self._settled = False

    def state_dict(self) -> dict[str, Any]:
        return {"id": self.id, **{key: self.settings.get(key) for key in DECIDE}}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        saved = checkpoint.get("callbacks", {}).get(self.state_key, {})
        # The first process decides for all: one that raised alone would leave the others waiting.
        if problem := trainer.strategy.broadcast(self._why_not(saved)):
            raise ValueError(problem)
        self.id = saved["id"]  # where the folder has lost it

    def _why_not(self, saved: Mapping[str, Any]) -> str | None:
        """Why the run cannot go on from a checkpoint; None if it can."""
        where = f"the checkpoint in {self.folder}"
        if "id" not in saved:
            return (
                f"{where} does not say which run it is of, as those of earlier versions do not: "
                f"give {OTHER}"
            )
        if told := difference(saved, self.settings):
            return f"{where} is of a run that began with {told}; {SAME}"
        if self.id not in ("", saved["id"]):
            return (
                f"{where} is of the run {saved['id']}, and the folder of the run {self.id}: put "
                f"back the checkpoint that was there, or give {OTHER}"
            )
        return None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._settle(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check_place(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.check_place(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._settled:
            self.check_place(trainer)
        else:  # resumed at its end
            self._settle(trainer)

    def _settle(self, trainer: pl.Trainer) -> None:
        """Let the folder be this run's."""
        self.id = trainer.strategy.broadcast(self.id or secrets.token_hex(4))
        self._settled = True
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / SUMMARY).unlink(missing_ok=True)  # it will be another, or none
            text = yaml.safe_dump(dict(self.settings), explicit_end=True)
            write_whole(self.folder / CONFIG, lambda file: file.write_text(text))
            write_whole(self.folder / ID, lambda file: file.write_text(self.id))

    def check_place(self, trainer: pl.Trainer) -> None:
        """Stop a run whose folder is no longer there. All processes call it together.

        Raises:
            FileNotFoundError: it was moved, deleted or emptied.
        """
        if trainer.strategy.broadcast(read_id(self.folder / ID) != self.id):
            raise FileNotFoundError(
                f"{self.folder} was moved, deleted or emptied while the run trained in it"
            )


def difference(
    before: Mapping[str, Any], now: Mapping[str, Any], among: Sequence[str] = DECIDE
) -> str:
    """In which of the settings that decide two runs differ first, in words; empty if in none.

    Args:
        before: the settings of one.
        now: those of the other.
        among: the settings that decide.

    >>> difference({"seed": 0}, {"seed": 1})
    'seed=0, not seed=1'
    """
    then, given = flat(before), flat(now)
    for key in sorted(then.keys() | given.keys()):
        if key.split(".")[0] in among and then.get(key) != given.get(key):
            return f"{key}={then.get(key)}, not {key}={given.get(key)}"
    return ""


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run whose data, model, pruning or seed were others.

    Args:
        before: the settings that the run began with.
        now: those given.
        folder: where it began.

    Raises:
        ValueError: they differ; both values are named.

    >>> check_same_run({"seed": 0}, {"seed": 1}, Path("runs/a"))
    Traceback (most recent call last):
    ValueError: the run in runs/a began with seed=0, not seed=1; give the same settings to go on \
with it, or another folder, as hydra.run.dir=FOLDER, to begin another
    """
    if told := difference(before, now):
        raise ValueError(f"the run in {folder} began with {told}; {SAME}")


def read_id(file: Path) -> str:
    """An id of eight digits that was kept in a file; empty if there is none, or half of one.

    >>> read_id(Path("no such file"))
    ''
    """
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return ""
    return text if re.fullmatch("[0-9a-f]{8}", text) else ""
