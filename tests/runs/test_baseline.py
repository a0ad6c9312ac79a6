"""A run without pruning takes notes of itself; one with pruning is left to do so."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from tasks import Task, trainer

from l1prune import L1Pruning, Sparsity
from l1prune.runs.baseline import Baseline


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
