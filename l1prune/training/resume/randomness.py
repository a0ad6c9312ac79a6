"""Randomness: the state of every random generator of a run, to be taken down and put back.

Lightning's checkpoints hold none. A run that draws random numbers, for the order of its data or for
dropout, goes on as it would have only if the generators do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import check_same, is_whole
from l1prune.weights.shards import of_each_process, place

State = dict[str, Any]


def captured() -> State:
    """The state of this process's generators: torch, its current GPU, Python and NumPy.

    Tensors and plain types only, so that a checkpoint that holds it loads with `weights_only=True`.

    >>> state = captured(); first = torch.rand(2)
    >>> restore(state); torch.equal(torch.rand(2), first)
    True
    """
    name, keys, *rest = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # a CPU run leaves it alone
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: State) -> None:
    """Put all generators of this process back to where `captured` found them."""
    torch.set_rng_state(state["torch"].cpu())
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def captured_everywhere() -> list[State]:
    """The states of all processes of a run, by rank. All of them must call it together."""
    return of_each_process(captured())


def restore_own(states: list[State]) -> None:
    """Put this process's generators back, if there are as many processes as there were."""
    rank, processes = place()
    if len(states) == processes:
        restore(states[rank])


class Generators:
    """The generators of all processes as an entry of a run's state."""

    def __init__(self) -> None:
        self._loaded: list[State] = []

    def state_dict(self) -> dict[str, Any]:
        """Their states by rank. Processes call it together."""
        return {"states": captured_everywhere()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put this process's generators back."""
        self._loaded = state["states"]
        restore_own(self._loaded)

    def restore_again(self) -> None:
        """Put them back to what was loaded, unless training has gone on since."""
        restore_own(self._loaded)

    def go_on(self) -> None:
        """Training goes on: what was loaded is past."""
        self._loaded = []


def mixed(*parts: int) -> int:
    """A seed below 2³² that depends on each of some whole numbers ≥ 0, and on their order.

    >>> mixed(0, 7) == mixed(0, 7), mixed(0, 7) == mixed(7, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def seed(number: int) -> None:
    """Seed all generators of this process with a number from 0 to 2³² − 1.

    >>> seed(7); first = torch.rand(2)
    >>> seed(7); torch.equal(torch.rand(2), first)
    True
    """
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


class StepSeed(pl.Callback):
    """Seeds all random generators before each batch is fetched, from seed, process and batch alone.

    So dropout is the same whatever was drawn before: by an earlier part of the run, or a validation
    that the resumed run does not repeat.

    Args:
        seed: a whole number ≥ 0.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, seed: int = 0) -> None:
        if not is_whole(seed, 0):
            raise ValueError(f"seed={seed!r}: give a whole number from 0 up")
        self.seed = seed
        self.batches = 0

    def _seed(self, trainer: pl.Trainer) -> None:
        seed(mixed(self.seed, trainer.global_rank, self.batches))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self.batches = 0
        self._seed(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seed(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.batches += 1
        self._seed(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._seed(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches, "seed": self.seed}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        saved = checkpoint.get("callbacks", {}).get(self.state_key, {})
        if trainer.state.fn == TrainerFn.FITTING and "seed" in saved:
            check_same({"StepSeed.seed": str(self.seed)}, {"StepSeed.seed": str(saved["seed"])})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]
