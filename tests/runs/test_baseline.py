"""A run without pruning takes notes of itself; one with pruning is left to do so."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelPruning
from lightning.pytorch.loggers import CSVLogger
from tasks import Task, trainer
from torch import nn

from l1prune import L1Pruning, Sparsity
from l1prune.runs.baseline import Baseline


def nonzeros(baseline: Baseline) -> list[int]:
    """What was left at each validation."""
    return [nonzero for nonzero, *_ in baseline.state_dict()["validations"]["rows"]]


def test_where_something_prunes_it_is_silent(tmp_path: Path) -> None:
    logger, baseline = CSVLogger(tmp_path, name="", version=""), Baseline()
    pruning = L1Pruning(threshold=Sparsity(0.5), prune_at=[0.5])
    trainer(pruning, baseline, epochs=4, logger=logger, log_every_n_steps=1).fit(Task())
    assert baseline.state_dict() == {"validations": {"rows": []}}
    assert "dense" not in (tmp_path / "hparams.yaml").read_text()


def test_a_second_fit_begins_anew() -> None:
    baseline = Baseline()
    for _ in range(2):
        trainer(baseline, epochs=2).fit(Task())
    assert len(baseline.state_dict()["validations"]["rows"]) == 2


def test_what_another_callback_prunes_is_counted_under_its_masks() -> None:
    baseline, task = Baseline(), Task()
    others = ModelPruning("l1_unstructured", amount=0.5, parameter_names=["weight"])
    trainer(others, baseline, epochs=2).fit(task)  # it prunes at the end of the first
    weights = sum(w.numel() for w in task.parameters() if w.ndim > 1)
    assert nonzeros(baseline) == [weights, pytest.approx(weights / 2, abs=1)]


def test_a_run_without_a_weight_to_prune_goes_on() -> None:
    baseline, task = Baseline(), Task()
    for module in [*task.modules()]:
        if isinstance(module, nn.Linear):
            nn.utils.parametrizations.weight_norm(module)
    trainer(baseline, epochs=1).fit(task)
    assert nonzeros(baseline) == [0]
