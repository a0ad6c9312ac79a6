"""A run's folder: begun once, taken up again, never with half a file in it, never another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml  # type: ignore[import-untyped]
from boring import boring_trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from safetensors.torch import load_file
from torch import nn

from l1prune import LastCheckpoint, SparsityReport, last_checkpoint
from l1prune.runs.folder import RunFolder
from l1prune.runs.identity import RunIdentity

SETTINGS = {
    "data": {"batch_size": 32},
    "prune": {"threshold": {"sparsity": 0.9}},
    "seed": 0,
    "trainer": {"max_epochs": 1},
}
END = {"test/accuracy": 0.5}


def settings(**changes: Any) -> dict[str, Any]:
    return SETTINGS | changes


def longer() -> dict[str, Any]:
    return settings(trainer={"max_epochs": 2})


def train(path: Path, given: dict[str, Any], end: bool = True) -> bool:
    """Whatever the settings say, a run of a Boring model; whether there was something to train."""
    folder = RunFolder(path)
    try:
        if not folder.begin(given):
            return False
        fit(path, given)
        if end:
            network = nn.Linear(3, 2)
            folder.keep(network, SparsityReport.of(network))
            folder.end(END)
        return True
    finally:
        folder.close()


def fit(path: Path, given: dict[str, Any]) -> L.Trainer:
    callbacks: list[L.Callback] = [RunIdentity(path, given), LastCheckpoint(path)]
    trainer = boring_trainer(*callbacks, epochs=given["trainer"]["max_epochs"])
    trainer.fit(BoringModel(), ckpt_path=last_checkpoint(path))
    return trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert train(folder, settings())
    return folder


@pytest.fixture
def ended(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def state(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


# ---- what it leaves


def test_a_run_leaves_whole_files_and_nothing_else(ended: Path) -> None:
    names = {path.name for path in ended.iterdir()} - {".lock", ".id"}
    left = {"config.yaml", "last.ckpt", "model.safetensors", "report.csv", "summary.json"}
    assert names == left
    assert json.loads((ended / "summary.json").read_text()) == RunFolder(ended).summary() == END
    assert yaml.safe_load((ended / "config.yaml").read_text()) == SETTINGS
    assert load_file(ended / "model.safetensors").keys() == {"weight", "bias"}


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_summary_is_strict_json_or_is_not(tmp_path: Path, figure: float) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(settings())
    with pytest.raises(ValueError, match="JSON"):
        folder.end({"test/accuracy": figure})
    assert not (tmp_path / "summary.json").exists()


def test_what_fails_while_it_is_written_leaves_the_old_file(
    ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (ended / "report.csv").read_text()

    def torn(self: SparsityReport, path: Path) -> None:
        path.write_text("lay")
        raise OSError("no space left on device")

    monkeypatch.setattr(SparsityReport, "to_csv", torn)
    with pytest.raises(OSError, match="no space"):
        train(ended, longer())
    assert (ended / "report.csv").read_text() == before


# ---- taken up again


def test_a_run_that_ended_has_nothing_to_train_until_more_is_asked(ended: Path) -> None:
    assert not train(ended, settings())
    assert train(ended, longer())
    assert not train(ended, longer())
    assert yaml.safe_load((ended / "config.yaml").read_text()) == longer()


def test_a_longer_run_that_was_stopped_has_not_ended(ended: Path) -> None:
    assert train(ended, longer(), end=False)
    assert not (ended / "summary.json").exists()
    assert train(ended, longer())


def test_a_run_that_was_moved_is_the_same(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert train(here, settings(run_dir=str(here)))
    here.rename(there)
    assert not train(there, settings(run_dir=str(there)))
    assert train(there, longer() | {"run_dir": str(there)})


def test_who_takes_notes_makes_no_other_run(ended: Path) -> None:
    assert not train(ended, settings(logger={"name": "another"}))


def test_a_summary_that_was_cut_off_is_no_end(ended: Path) -> None:
    whole = (ended / "summary.json").read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 2):
        (ended / "summary.json").write_bytes(whole[:size])
        assert train(ended, settings())
        assert (ended / "summary.json").read_bytes() == whole


# ---- another's


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "began with seed=0, not seed=1"),
        ({"data": {"batch_size": 64}}, "data.batch_size=32, not data.batch_size=64"),
        ({"prune": {"threshold": {"sparsity": 0.8}}}, "sparsity=0.9, not .*sparsity=0.8"),
        ({"prune": None}, "prune"),
        ({"model": {"name": "gpt"}}, "model"),
    ],
    ids=str,
)
@pytest.mark.parametrize("config", ["whole", "gone", "empty", "half"])
@pytest.mark.parametrize("end", [True, False])
def test_another_run_is_refused_in_its_folder_and_changes_nothing(
    ended: Path, change: dict[str, Any], says: str, config: str, end: bool
) -> None:
    if not end:
        (ended / "summary.json").unlink()
    lose(ended / "config.yaml", config)
    before = state(ended)
    with pytest.raises(ValueError, match=says) as refused:
        train(ended, settings(**change))
    assert "\n" not in str(refused.value)
    assert state(ended) == before


def lose(file: Path, how: str) -> None:
    if how == "gone":
        file.unlink()
    elif how != "whole":
        size = {"empty": 0, "half": file.stat().st_size // 2}[how]
        file.write_bytes(file.read_bytes()[:size])


def test_a_config_cut_off_anywhere_is_made_whole_again(ended: Path) -> None:
    whole = (ended / "config.yaml").read_bytes()
    for size in range(0, len(whole), 7):
        (ended / "config.yaml").write_bytes(whole[:size])
        train(ended, settings())
        assert (ended / "config.yaml").read_bytes() == whole


@pytest.mark.parametrize("torn", [b"\0" * 60, b"\xff\xfe", b"- 1\n...\n", b"a: [\n...\n"], ids=str)
def test_a_config_of_rubbish_is_made_whole_again(ended: Path, torn: bytes) -> None:
    whole = (ended / "config.yaml").read_bytes()
    (ended / "config.yaml").write_bytes(torn)
    assert train(ended, settings())
    assert (ended / "config.yaml").read_bytes() == whole


@pytest.mark.parametrize("change", [{"seed": 1}, {"model": 1}, {"prune": None}, {}], ids=str)
def test_the_checkpoint_of_another_run_is_refused(
    ended: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert train(tmp_path / "other", settings(**change))
    (ended / "last.ckpt").write_bytes((tmp_path / "other" / "last.ckpt").read_bytes())
    before = state(ended)
    with pytest.raises(ValueError, match=r"the checkpoint in .* is of (a|the) run"):
        train(ended, longer())
    assert state(ended) == before


def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(ended: Path) -> None:
    trainer = boring_trainer(enable_checkpointing=False)
    trainer.fit(BoringModel())
    trainer.save_checkpoint(ended / "last.ckpt")
    with pytest.raises(ValueError, match="does not say which run it is of"):
        train(ended, longer())
    assert (ended / "summary.json").exists()


def test_an_ended_run_without_a_checkpoint_is_not_begun_anew(ended: Path) -> None:
    (ended / "last.ckpt").unlink()
    before = state(ended)
    assert not train(ended, settings())
    with pytest.raises(ValueError, match="has ended, with other settings or another version"):
        train(ended, longer())
    assert state(ended) == before


def test_an_id_that_was_lost_comes_back_from_the_checkpoint(ended: Path) -> None:
    kept = (ended / ".id").read_text()
    for text in (None, "", kept[:3], "\0" * 8):
        (ended / ".id").unlink() if text is None else (ended / ".id").write_text(text)
        (ended / "summary.json").unlink()
        assert train(ended, settings())
        assert (ended / ".id").read_text() == kept


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
