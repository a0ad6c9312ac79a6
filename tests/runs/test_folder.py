"""A run's folder: begun once, taken up again, and never with half a file in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

from l1prune import SparsityReport
from l1prune.runs.folder import RunFolder

SETTINGS = {
    "data": {"batch_size": 32},
    "prune": {"threshold": {"sparsity": 0.9}},
    "seed": 0,
    "trainer": {"max_epochs": 3},
}


def settings(**changes: Any) -> dict[str, Any]:
    return SETTINGS | changes


def end(folder: RunFolder) -> nn.Module:
    network = nn.Linear(3, 2)
    folder.end(network, SparsityReport.of(network), {"test/accuracy": 0.5})
    folder.close()
    return network


def test_a_run_leaves_whole_files_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.begin(settings())
    network = end(folder)
    names = {path.name for path in folder.path.iterdir()} - {".lock"}
    assert names == {"config.yaml", "model.safetensors", "report.csv", "summary.json"}
    assert json.loads((folder.path / "summary.json").read_text()) == folder.summary()
    stored = load_file(folder.path / "model.safetensors")
    assert stored.keys() == network.state_dict().keys()


def test_a_run_that_ended_has_nothing_to_train_until_more_is_asked(tmp_path: Path) -> None:
    for given, trains in (
        (settings(), True),
        (settings(), False),
        (settings(trainer={"max_epochs": 5}), True),
    ):
        folder = RunFolder(tmp_path)
        assert folder.begin(given) is trains
        end(folder)


def test_a_longer_run_that_was_stopped_has_not_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(settings())
    end(folder)
    (tmp_path / "last.ckpt").write_bytes(b"trained")
    for _ in range(2):
        folder = RunFolder(tmp_path)
        assert folder.begin(settings(trainer={"max_epochs": 5}))
        folder.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "began with seed=0, not seed=1"),
        ({"data": {"batch_size": 64}}, "data.batch_size=32, not data.batch_size=64"),
        ({"prune": {"threshold": {"sparsity": 0.8}}}, "sparsity=0.9, not .*sparsity=0.8"),
        ({"prune": None}, "prune"),
    ],
    ids=str,
)
def test_another_run_is_refused_in_its_folder(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    first = RunFolder(tmp_path)
    first.begin(settings())
    first.close()
    (tmp_path / "last.ckpt").write_bytes(b"trained")
    with pytest.raises(ValueError, match=says):
        RunFolder(tmp_path).begin(settings(**change))


def test_a_folder_where_nothing_was_trained_takes_any_run(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.begin(settings())
    first.close()
    assert RunFolder(tmp_path).begin(settings(seed=1))


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.begin(settings())
    with pytest.raises(ValueError, match="another process is training in this folder"):
        RunFolder(tmp_path).begin(settings())
    first.close()
    RunFolder(tmp_path).begin(settings())


def test_what_fails_while_it_is_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(settings())
    end(folder)
    before = (tmp_path / "report.csv").read_text()

    def torn(self: SparsityReport, path: Path) -> None:
        path.write_text("lay")
        raise OSError("no space left on device")

    monkeypatch.setattr(SparsityReport, "to_csv", torn)
    with pytest.raises(OSError, match="no space"):
        end(folder)
    assert (tmp_path / "report.csv").read_text() == before
