"""Generators: the state of every random generator of a run, to be taken down and put back.

Lightning's checkpoints hold none. A run that draws random numbers, for the order of its data or for
dropout, goes on as it would have only if the generators do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

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
