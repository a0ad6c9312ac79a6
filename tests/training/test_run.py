"""Run: its state is declared once, saved whole, and loaded whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tasks import Task, fit
from torch import Tensor

from l1prune import Budget, Follow, L1Pruning, Sparsity, SparsityPath, Wanda, once, rounds
from l1prune.training.run import Run, saved_fields

ARGUMENTS: dict[str, dict[str, Any]] = {
    "default": {},
    "follow": {"strength": Follow(), "prune_at": [0.2, 0.6]},
    "rewind": {"threshold": Sparsity(0.8), "rewind": 0.2},
    "path": {"threshold": SparsityPath((0.5, 0.8)), "prune_at": once(0.5)},
    "budget": {
        "threshold": Budget("val/loss", 9.0, higher_is_better=False, rounds=1),
        "prune_at": once(0.5),
    },
    "wanda": {"criterion": Wanda(), "prune_at": rounds(0.1, 0.6, 10)},
}


class Half(L.Callback):
    """Takes the state down in the middle of a run."""

    def __init__(self, pruning: L1Pruning) -> None:
        self.pruning = pruning
        self.state: dict[str, Any] = {}

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.state = self.pruning.run.state_dict()


def half(name: str) -> dict[str, Any]:
    pruning = L1Pruning(**ARGUMENTS[name])
    look = Half(pruning)
    fit(Task(), pruning, look)
    return look.state


def new(name: str) -> Run:
    return L1Pruning(**ARGUMENTS[name]).run


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, tensors and all."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return bool(a == b)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_field_but_the_rounds_is_saved(name: str) -> None:
    state = half(name)
    assert list(state) == saved_fields()
    assert {*state} == {*vars(new(name))} - {"rounds"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_state_survives_a_file_to_the_bit(name: str, tmp_path: Path) -> None:
    state = half(name)
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert same(loaded, state)
    run = new(name)
    run.load_state_dict(loaded)
    assert same(run.state_dict(), state)
    assert run.clock.batches == 10


@pytest.mark.parametrize("field", saved_fields())
def test_a_state_without_one_of_them_is_refused_by_its_name(field: str) -> None:
    run, state = new("default"), new("default").state_dict()
    state["rounds_done"] = 7
    del state[field]
    with pytest.raises(ValueError, match=f"it has no {field}; begin a new run from its weights"):
        run.load_state_dict(state)
    assert run.rounds_done == 0


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=f"it has no {', '.join(saved_fields())}; "):
        new("default").load_state_dict({})


# ---- what follows from it


def test_the_last_cut_of_a_stage_ends_the_pressure() -> None:
    run = L1Pruning(0.5, prune_at=[0.2, 0.6]).run
    assert (run.phase, run.pressure, run.arrived) == ("press", 0.5, False)
    run.rounds_done = 1
    assert (run.phase, run.pressure, run.arrived) == ("press", 0.5, False)
    run.rounds_done = 2
    assert (run.phase, run.pressure, run.arrived) == ("tune", 0.0, True)


def test_where_nothing_is_to_go_nothing_is_pressed() -> None:
    run = L1Pruning(0.5, Budget("val/loss", 0.1), prune_at=once(0.5)).run
    assert (run.phase, run.pressure, run.arrived) == ("tune", 0.0, False)


def test_without_stages_all_is_done_when_the_network_has_arrived() -> None:
    run = L1Pruning(prune_at=[0.2, 0.6]).run
    for done in range(3):
        run.rounds_done = done
        assert run.complete is run.has_arrived is run.arrived is (done == 2)


def test_in_stages_one_network_has_arrived_long_before_all_is_done() -> None:
    run = L1Pruning(threshold=SparsityPath((0.5, 0.8)), prune_at=once(0.5)).run
    run.rounds_done = 1
    assert (run.has_arrived, run.complete) == (True, False)
    run.stages.outcomes.append({"sparsity": 0.5})
    run.stages.go_on(0.75)
    run.rounds_done = 0
    assert (run.arrived, run.has_arrived, run.complete) == (False, True, False)
    run.stages.outcomes.append({"sparsity": 0.8})
    assert run.complete


def test_two_runs_share_nothing() -> None:
    one, other = new("default"), new("default")
    for name in saved_fields():
        value = getattr(one, name)
        assert isinstance(value, int | float) or value is not getattr(other, name)


def test_a_run_that_goes_on_with_another_kernel_says_so_once() -> None:
    run = L1Pruning().run
    assert run.note_kernels({"C"}) == "" and run.kernels == ["C"]
    assert run.note_kernels({"C"}) == ""
    assert "by C, and are by eager" in run.note_kernels({"eager"})
    assert run.note_kernels({"eager"}) == "" and run.state_dict()["kernels"] == ["C", "eager"]
