"""Spawned processes: how a run in them tells the process that launched it how it ended.

`ddp_spawn` and `ddp_fork` train a copy of each callback. Lightning brings the weights back,
through a file, and the trainer's state, through a pipe, but no callback. So the outcome is put
into another file, and a message goes along with the trainer's state: unpickled, it delivers.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lightning.pytorch as pl
import torch

from l1prune.training.lightning import is_launched


class Original:
    """An object of which a launched process has a copy, and that takes over what the copy knows."""

    def __init__(self) -> None:
        self._register()

    def _register(self) -> None:
        self._address = uuid.uuid4().hex
        _ORIGINALS[self._address] = self

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).copy()
        # Only the copy that is sent to a launched process reports back: others are objects anew.
        if get_spawning_popen() is None:
            del state["_address"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_address" not in state:
            self._register()

    def report_back(self, trainer: pl.Trainer, outcome: dict[str, Any]) -> None:
        """Give attributes to the original in the launching process, if there is one.

        Call it in the launched processes, at the end of their run.

        Args:
            trainer: runs this object.
            outcome: the attributes that the original is to take over; tensors arrive on the CPU.
        """
        if is_launched(trainer) and trainer.local_rank == 0:
            with tempfile.NamedTemporaryFile(prefix="l1prune-", delete=False) as file:
                torch.save(outcome, file)
            vars(trainer.state)["l1prune"] = _Message(self._address, Path(file.name))


_ORIGINALS: WeakValueDictionary[str, Original] = WeakValueDictionary()


class _Message:
    """Delivers an outcome where, and as soon as, it is unpickled."""

    def __init__(self, address: str, file: Path) -> None:
        self._arguments = (address, file)

    def __reduce__(self) -> tuple[Callable[[str, Path], None], tuple[str, Path]]:
        return _deliver, self._arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> _Message:
        return self  # Lightning copies the trainer's state before it sends it


def _deliver(address: str, file: Path) -> None:
    outcome = torch.load(file, map_location="cpu", weights_only=False)  # our own file
    file.unlink()
    original = _ORIGINALS.get(address)
    if original is not None:
        vars(original).update(outcome)
