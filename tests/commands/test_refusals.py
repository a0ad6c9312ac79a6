"""A run that cannot be, or stops, ends in one message; a defect keeps its traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import OmegaConf

from l1prune.checks import DivergenceError
from l1prune.commands.refusals import failing, refusing, unless_refused
from l1prune.runs.folder import RunFolder
from l1prune.runs.sweep import Refusal
from l1prune.runs.traces import Traces


def test_wrong_input_is_told_by_its_first_cause() -> None:
    said = r"^Cannot train like this: damping must be a finite number > 0, got 0$"
    with pytest.raises(Refusal, match=said), refusing(Exception):
        instantiate({"_target_": "l1prune.Refit", "damping": 0})


def test_an_error_in_code_of_ones_own_is_told_with_its_place() -> None:
    def width(sizes: dict[str, int]) -> int:
        return sizes["hidden"]

    said = r"KeyError: 'hidden'\n  line \d+ of .*test_refusals\.py, in width; HYDRA_FULL_ERROR=1"
    with pytest.raises(Refusal, match=said), refusing(Exception):
        width({})


def test_once_trained_or_asked_for_it_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="mine"), refusing(ValueError, trained=lambda: True):
        raise ValueError("mine")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="mine"), refusing(ValueError):
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("error", "advice"),
    [(DivergenceError("NaN"), "lower learning rate"), (OSError("full"), "goes on from what was")],
)
def test_what_stops_a_run_comes_with_advice(error: Exception, advice: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=advice), failing(RunFolder(tmp_path)):
        raise error


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: RunMode = RunMode.RUN) -> None:
    monkeypatch.setattr(Traces, "first", folder)
    known = OmegaConf.create({"mode": mode})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: known))
    (folder / ".hydra").mkdir(parents=True)
    with pytest.raises(Refusal), unless_refused(RunFolder(folder)):
        raise Refusal("no")


def test_a_refused_run_goes_and_a_job_of_a_sweep_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(tmp_path / "run", monkeypatch)
    assert not (tmp_path / "run").exists()
    refused(tmp_path / "job", monkeypatch, RunMode.MULTIRUN)  # which tells there why
    assert (tmp_path / "job").exists()


def test_a_folder_in_which_one_has_trained_or_trains_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("seed: 0\n")
    refused(tmp_path / "old", monkeypatch)
    other = RunFolder(tmp_path / "busy")
    assert other.begin({"seed": 0})
    refused(tmp_path / "busy", monkeypatch)
    other.close()
    assert (tmp_path / "old").exists() and (tmp_path / "busy").exists()
