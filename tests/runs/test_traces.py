"""A folder that was made for a run that is refused goes, and nothing that was there before."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from l1prune.runs.traces import Traces, remove


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Traces, "first", None)


def begin(folder: Path) -> None:
    """What Hydra does: tell, then make the folder and note in it what was asked for."""
    Traces().on_run_start(OmegaConf.create({"hydra": {"run": {"dir": str(folder)}}}))
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text("")


def test_all_that_was_made_goes(tmp_path: Path) -> None:
    begin(tmp_path / "outputs" / "today" / "now")
    remove(tmp_path / "outputs" / "today" / "now")
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    begin(tmp_path / "outputs" / "today" / "now")
    remove(tmp_path / "outputs" / "today" / "now")
    assert list(tmp_path.iterdir()) == [tmp_path / "outputs"]


def test_a_folder_that_was_there_stays_with_all_in_it(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    begin(tmp_path)
    remove(tmp_path)
    assert (tmp_path / "note").read_text() == "mine"


def test_another_run_beside_it_stays(tmp_path: Path) -> None:
    begin(tmp_path / "outputs" / "now")
    (tmp_path / "outputs" / "meanwhile").mkdir()
    remove(tmp_path / "outputs" / "now")
    assert [one.name for one in (tmp_path / "outputs").iterdir()] == ["meanwhile"]


def test_of_a_folder_of_which_nothing_is_known_nothing_goes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    remove(tmp_path / "a")
    assert (tmp_path / "a").exists()
