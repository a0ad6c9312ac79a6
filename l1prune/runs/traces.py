"""Traces: the folders that were made for a run, taken away again if it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Traces(Callback):
    """Remembers what was there before Hydra made the folder of a run.

    Hydra calls it, as `hydra.callbacks` says.

    Attributes:
        first: the uppermost folder that will have been made; None where the run's own was there.
    """

    first: ClassVar[Path | None] = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        Traces.first = first_missing(Path(config.hydra.run.dir))


def first_missing(folder: Path) -> Path | None:
    """The uppermost of a folder and those around it that does not exist.

    >>> first_missing(Path("/nowhere/a/b")), first_missing(Path("/"))
    (PosixPath('/nowhere'), None)
    """
    folder = folder.absolute()
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    return missing[-1] if missing else None


def remove(folder: Path) -> None:
    """Remove a run's folder if it was made for the run, and those made around it if empty."""
    folder, first = folder.absolute(), Traces.first
    if first is None or not folder.is_relative_to(first):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for parent in folder.parents:
        if not parent.is_relative_to(first) or any(parent.iterdir()):
            return
        parent.rmdir()
