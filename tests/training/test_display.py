"""Display: a run says where it is, in the trainer's own bar, and what is left, once, at its end."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelSummary, TQDMProgressBar
from tasks import Task, fit

from l1prune import Budget, L1Pruning, Sparsity, SparsityPath, once
from l1prune.cuts.plans import told


class Bar(TQDMProgressBar):
    """Of the user's own: writes down what it would show, after each batch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=0)
        self.shown: list[dict[str, Any]] = []

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        return {"mine": 1, **super().get_metrics(*args)}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.shown.append(self.get_metrics(trainer, pl_module))


def half(**options: Any) -> L1Pruning:
    return L1Pruning(1e-4, **{"threshold": Sparsity(0.5), "prune_at": once(0.5)} | options)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said at the end of a run."""
    return [text for text in caplog.messages if "all prunable" in text]


@pytest.fixture(autouse=True)
def listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lightning.pytorch.utilities.rank_zero")


def test_the_bar_shows_phase_strength_and_sparsity_beside_its_own() -> None:
    bar = Bar()
    fit(Task(), bar, half(), epochs=4, enable_progress_bar=True)
    first, last = bar.shown[0], bar.shown[-1]
    assert first == {"phase": "press", "λ": "1.0e-04", "mine": 1}
    assert last == {"phase": "tune", "sparsity": "50.0%", "mine": 1}
    assert [one["phase"] for one in bar.shown] == ["press"] * 10 + ["tune"] * 10
    assert "get_metrics" not in vars(bar)


def test_a_bar_of_a_dense_run_shows_its_own_alone() -> None:
    bar = Bar()
    fit(Task(), bar, epochs=1, enable_progress_bar=True)
    assert bar.shown == [{"mine": 1}] * 5


def test_what_is_shown_changes_no_bit() -> None:
    plain, watched = Task(), Task()
    fit(plain, half())
    fit(watched, half(), Bar(), ModelSummary(), enable_progress_bar=True)
    for a, b in zip(plain.parameters(), watched.parameters()):
        assert torch.equal(a, b)


def test_the_end_says_once_what_is_left_of_each_layer(caplog: pytest.LogCaptureFixture) -> None:
    pruning = half()
    fit(Task(), pruning, enable_model_summary=True)
    assert said(caplog) == [f"\n{pruning.report}"]


def test_who_wants_no_summary_of_the_model_has_none_of_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fit(Task(), half(), enable_model_summary=False)
    assert not said(caplog)


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (SparsityPath((0.5, 0.8)), "    1  50.0 %"),
        (Budget("val/loss", 9.0, rounds=1), "val/loss may be"),
    ],
    ids=["path", "budget"],
)
def test_a_run_in_stages_says_what_each_came_to(
    plan: Any, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    pruning = half(threshold=plan)
    fit(Task(), pruning, epochs=8, enable_model_summary=True)
    (text,) = said(caplog)
    assert text.endswith(told(plan, pruning.outcomes)) and line in text


def test_a_trainer_without_a_bar_is_none_the_worse() -> None:
    run = fit(Task(), half(), enable_progress_bar=False)
    assert run.progress_bar_callback is None and isinstance(run, L.Trainer)
