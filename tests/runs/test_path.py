"""Every stage of a path leaves a network that loads, and figures that are its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from tasks import trainer

from l1prune import L1Pruning, PathCheckpoint, Sparsity, SparsityPath
from l1prune.runs.path import read_path, test_path
from l1prune.zoo import Classifier, Digits, mlp

test_path.__test__ = False  # type: ignore[attr-defined]
WALKED = SparsityPath((0.5, 0.8, 0.9))


def made() -> tuple[Classifier, Digits]:
    torch.manual_seed(0)
    network = mlp((1, 8, 8), 10, hidden=(8,))
    return Classifier(network, 10, partial(torch.optim.Adam, lr=0.01)), Digits(batch_size=100)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walked")
    model, data = made()
    run = trainer(L1Pruning(0.0, WALKED, prune_at=0.5), PathCheckpoint(folder), epochs=5)
    run.fit(model, data)
    final = {name: value.clone() for name, value in model.state_dict().items()}
    test_path(run, model, data, folder)
    assert all(torch.equal(final[name], value) for name, value in model.state_dict().items())
    return folder


def test_each_file_holds_what_its_entry_says(walked: Path) -> None:
    stages = read_path(walked)
    assert [stage["sparsity"] for stage in stages] == pytest.approx([0.5, 0.8, 0.9], abs=1e-3)
    for stage in stages:
        model, data = made()
        kept = torch.load(walked / stage["checkpoint"], weights_only=True)["state_dict"]
        model.load_state_dict(kept)
        left = sum(int(w.count_nonzero()) for name, w in kept.items() if name.endswith("weight"))
        assert left == stage["params/nonzero"]
        (validated,) = trainer().validate(model, data, verbose=False)
        (tested,) = trainer().test(model, data, verbose=False)
        assert validated["val/accuracy"] == pytest.approx(stage["val/accuracy"])
        assert tested["test/accuracy"] == pytest.approx(stage["test/accuracy"])


def test_a_validation_after_the_run_is_no_stage(tmp_path: Path) -> None:
    model, data = made()
    run = trainer(L1Pruning(0.0, WALKED, prune_at=0.5), PathCheckpoint(tmp_path), epochs=5)
    run.fit(model, data)
    stages = read_path(tmp_path)
    run.validate(model, data, verbose=False)
    assert read_path(tmp_path) == stages


def test_the_curve_is_drawn(walked: Path) -> None:
    assert (walked / "frontier.png").stat().st_size > 10_000


def test_a_new_run_in_the_folder_begins_a_new_path(tmp_path: Path) -> None:
    (tmp_path / "frontier.json").write_text(json.dumps([{"sparsity": 0.1, "checkpoint": "old"}]))
    model, data = made()
    path = SparsityPath((0.5, 0.9))
    trainer(L1Pruning(0.0, path, prune_at=0.5), PathCheckpoint(tmp_path), epochs=5).fit(model, data)
    files = [stage["checkpoint"] for stage in read_path(tmp_path)]
    assert files == ["path/50.00.ckpt", "path/90.03.ckpt"]  # 59 of 592 weights are left


def test_a_run_without_stages_leaves_none(tmp_path: Path) -> None:
    model, data = made()
    run = trainer(L1Pruning(0.0, Sparsity(0.5), prune_at=0.5), PathCheckpoint(tmp_path), epochs=5)
    run.fit(model, data)
    test_path(run, model, data, tmp_path)
    assert list(tmp_path.iterdir()) == []
