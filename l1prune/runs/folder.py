"""A run's folder: what it began with, where it stopped, what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only
from safetensors.torch import save_file
from torch import nn

from l1prune.checks import flat
from l1prune.runs.files import read_json, read_yaml
from l1prune.runs.points import CONFIG, SUMMARY
from l1prune.training.resume.last import last_checkpoint
from l1prune.weights.files import replace
from l1prune.weights.report import SparsityReport
from l1prune.weights.shards import gathered

DECIDE = ("data", "model", "prune", "seed")
"""The settings that make it this run and no other."""


class RunFolder:
    """Begins a run in a folder, or takes it up again where it stopped.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def begin(self, settings: Mapping[str, Any]) -> bool:
        """Take the folder for this process, and write down the settings.

        Args:
            settings: of the run, plain values only.

        Returns:
            whether there is something to train: not if the run ended with these very settings.

        Raises:
            ValueError: another process trains here, or the run that began here is another.
        """
        if not is_first():
            return True  # the first process has looked
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{self.path}: another process is training in this folder; wait for it, or give "
                "another, as hydra.run.dir=FOLDER"
            ) from None
        before = self._before()
        check_same_run(before, settings, self.path)
        ended = (self.path / SUMMARY).exists()
        if ended and flat(before).items() >= flat(settings).items():
            return False
        (self.path / SUMMARY).unlink(missing_ok=True)  # it will be another, or none if this fails
        self._write(CONFIG, lambda file: file.write_text(yaml.safe_dump(dict(settings))))
        return True

    def _before(self) -> Mapping[str, Any]:
        if self.last is None and not (self.path / SUMMARY).exists():
            return {}  # nothing was trained
        try:
            before = read_yaml(self.path / CONFIG)
        except (OSError, ValueError):
            before = None
        return before if isinstance(before, Mapping) else {}

    @property
    def last(self) -> Path | None:
        """The checkpoint to go on from; None at first."""
        return last_checkpoint(self.path)

    def end(self, network: nn.Module, report: SparsityReport, summary: Mapping[str, Any]) -> None:
        """Write what a run leaves, but for its checkpoints; the summary last, as it says so.

        All processes call it together, the first one writes.
        """
        whole = {n: gathered(w).detach().cpu().clone() for n, w in network.state_dict().items()}
        if not is_first():
            return
        self._write("report.csv", report.to_csv)
        self._write("model.safetensors", lambda file: save_file(whole, str(file)))
        text = json.dumps(summary, indent=2) + "\n"
        self._write(SUMMARY, lambda file: file.write_text(text))

    def summary(self) -> dict[str, Any]:
        """The figures of a run that has ended."""
        figures: dict[str, Any] = read_json(self.path / SUMMARY)
        return figures

    def close(self) -> None:
        """Let other processes have the folder."""
        if is_first():
            self._lock.release()

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        """A file is whole, or not there: whatever happens while it is written."""
        part = self.path / f"{name}.part"
        write(part)
        replace(part, self.path / name)


def is_first() -> bool:
    """Whether this is the one process of the run that speaks and writes."""
    return not getattr(rank_zero_only, "rank", 0)


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run whose data, model, pruning or seed were others.

    Args:
        before: the settings that the run began with; nothing if there is no such run.
        now: those given.
        folder: where it began.

    Raises:
        ValueError: they differ; both values are named.

    >>> check_same_run({"seed": 0}, {"seed": 1}, Path("runs/a"))
    Traceback (most recent call last):
    ValueError: the run in runs/a began with seed=0, not seed=1; give the same settings to go on \
with it, or another folder, as hydra.run.dir=FOLDER, to begin another
    """
    if not before:
        return
    then, given = flat(before), flat(now)
    for key in sorted(then.keys() | given.keys()):
        if key.split(".")[0] in DECIDE and then.get(key) != given.get(key):
            raise ValueError(
                f"the run in {folder} began with {key}={then.get(key)}, not {key}={given.get(key)};"
                " give the same settings to go on with it, or another folder, as "
                "hydra.run.dir=FOLDER, to begin another"
            )
