"""Spawned processes report back to the original, and to no other copy of it.

A run in real processes is in test_strategies.py; here what is sent is pickled as they would.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Iterator
from multiprocessing.context import set_spawning_popen
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from l1prune import L1Pruning
from l1prune.training import spawn
from l1prune.training.spawn import Original


class Known(Original):
    """Knows one thing."""

    def __init__(self, thing: Any) -> None:
        super().__init__()
        self.thing = thing


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where messages lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    set_spawning_popen(None)


def launched(original: Original) -> Any:
    """The copy of it that a process gets which is being launched."""
    set_spawning_popen(object())
    sent = pickle.dumps(original)
    set_spawning_popen(None)
    return pickle.loads(sent)


def trainer(monkeypatch: pytest.MonkeyPatch, rank: int = 0, is_launched: bool = True) -> Any:
    monkeypatch.setattr(spawn, "is_launched", lambda trainer: is_launched)
    return SimpleNamespace(local_rank=rank, state=SimpleNamespace(status="finished"))


def test_the_original_takes_over_what_its_copy_reports(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    original, run = Known("old"), trainer(monkeypatch)
    twin = copy.deepcopy(original)
    child = launched(original)
    child.report_back(run, {"thing": {"weight": torch.ones(3)}})
    assert original.thing == "old"
    state = pickle.loads(pickle.dumps(copy.deepcopy(run.state)))  # as Lightning sends it
    assert torch.equal(original.thing["weight"], torch.ones(3))
    assert twin.thing == "old" and state.status == "finished"
    assert list(folder.iterdir()) == []


def through_a_file(original: Original) -> Any:
    return pickle.loads(pickle.dumps(original))


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, through_a_file])
def test_a_copy_in_the_same_process_is_an_object_anew(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, run = Known("old"), trainer(monkeypatch)
    other = make(original)
    launched(other).report_back(run, {"thing": "new"})
    pickle.loads(pickle.dumps(run.state))
    assert (original.thing, other.thing) == ("old", "new")


def test_a_message_to_what_is_gone_is_dropped(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    original, run = Known("old"), trainer(monkeypatch)
    child = launched(original)
    del original
    child._address = "elsewhere"
    child.report_back(run, {"thing": "new"})
    pickle.loads(pickle.dumps(run.state))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("case", [{"rank": 1}, {"is_launched": False}], ids=str)
def test_only_the_first_launched_process_reports(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    run = trainer(monkeypatch, **case)
    launched(Known("old")).report_back(run, {"thing": "new"})
    assert vars(run.state) == {"status": "finished"} and list(folder.iterdir()) == []


def test_the_callback_is_such_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    callback, run = L1Pruning(), trainer(monkeypatch)
    child = launched(callback)
    child.run.rounds_done = 7
    child.report_back(run, {"report": "done", "run": child.run})
    pickle.loads(pickle.dumps(run.state))
    assert callback.report == "done" and callback.run.rounds_done == 7
