"""`push_to_hub`: what a stand-in for the Hub is sent, and that it loads without l1prune."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from storage_samples import network, same_bits
from torch import nn

import l1prune.runs.hub as room
from l1prune import SparsityReport, push_to_hub
from l1prune.deploy import Exact, Half
from l1prune.runs.folder import RunFolder
from l1prune.runs.hub import without_places

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
HOME = "/home/somebody"


class Address(str):
    repo_id = "me/net"


class StandIn:
    """Keeps what is uploaded in a folder, and each call."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, []

    def create_repo(self, repo_id: str, **given: Any) -> Address:
        self.calls.append(("create", repo_id, given))
        return Address(f"https://hub.example/{repo_id}")

    def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.calls.append(("upload", repo_id, commit_message))
        shutil.copytree(folder_path, self.folder)

    def hf_hub_download(self, repo_id: str, name: str) -> str:
        assert repo_id == "me/net"
        return str(self.folder / name)

    @property
    def card(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    hub = StandIn(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.hf_hub_download)
    return hub


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that has ended."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    model = network()
    report = SparsityReport.of(model)
    folder.keep(model, report)
    figures = {"test/accuracy": 0.975, "val/accuracy": 0.98, **report.to_dict(), "seed": 0}
    folder.end(figures)
    target = {"_target_": "my.package.Convolutions", "cache": "C:\\Users\\me\\cache"}
    config = {"run_dir": f"{HOME}/run", "model": {"network": target}, "seed": 0}
    (folder.path / "config.yaml").write_text(yaml.safe_dump(config))
    (folder.path / "frontier.json").write_text("[]")
    (folder.path / "frontier.png").write_bytes(b"a picture")
    return folder.path


def loaded(hub: StandIn) -> nn.Module:
    """A fresh model, filled by the code of the card."""
    (code,) = re.findall(r"```python\n(.*?)```", hub.card, re.DOTALL)
    model = network(0.0)
    exec(code, {"model": model})
    return model


@pytest.mark.parametrize("values", [None, Exact()], ids=repr)
def test_a_model_is_loaded_by_the_code_of_its_card(hub: StandIn, values: Any) -> None:
    model = network()
    address = push_to_hub(model, "me/net", values=values, api=hub)  # type: ignore[arg-type]
    assert address == "https://hub.example/me/net"
    assert same_bits(dict(loaded(hub).state_dict()), dict(model.state_dict()))
    assert hub.calls[0] == ("create", "me/net", {"private": None, "exist_ok": True})
    assert {one.name for one in hub.folder.iterdir()} == {
        "README.md",
        "report.csv",
        "model.safetensors" if values is None else room.SPARSE,
    }


def test_sparse_values_are_smaller_and_of_their_own_precision(hub: StandIn) -> None:
    model = network()
    push_to_hub(model, "me/net", values=Half(), api=hub)  # type: ignore[arg-type]
    dense = sum(w.nbytes for w in model.state_dict().values())
    assert (hub.folder / room.SPARSE).stat().st_size < dense / 5
    torch.testing.assert_close(loaded(hub)[3].weight, model[3].weight, rtol=1e-3, atol=1e-6)


def test_where_sparse_saves_nothing_the_card_reads_a_plain_file(hub: StandIn) -> None:
    model = nn.Linear(2, 2)
    push_to_hub(model, "me/net", values=Exact(), api=hub)  # type: ignore[arg-type]
    assert "load_file" in hub.card and room.SPARSE in hub.card


def test_a_run_brings_its_figures_settings_and_curve(hub: StandIn, run: Path) -> None:
    push_to_hub(run, "me/net", metadata={"license": "mit"}, api=hub)  # type: ignore[arg-type]
    assert same_bits(dict(loaded(hub).state_dict()), dict(network().state_dict()))
    front = yaml.safe_load(hub.card.split("---\n")[1])
    assert front["license"] == "mit" and front["metrics"] == ["accuracy"]
    assert "| test/accuracy | 97.50 % |" in hub.card and "A Convolutions" in hub.card
    assert "](frontier.png)" in hub.card
    summary = json.loads((hub.folder / "summary.json").read_text())
    assert summary == json.loads((run / "summary.json").read_text())
    assert {"frontier.json", "frontier.png", "report.csv", "config.yaml"} <= {
        one.name for one in hub.folder.iterdir()
    }


def test_no_folder_of_this_machine_is_published(hub: StandIn, run: Path) -> None:
    push_to_hub(str(run), "me/net", api=hub)  # type: ignore[arg-type]
    for file in hub.folder.glob("*.*"):
        assert HOME.encode() not in file.read_bytes() and b"Users" not in file.read_bytes()
    settings = yaml.safe_load((hub.folder / "config.yaml").read_text())
    assert settings["run_dir"] == "run" and settings["model"]["network"]["cache"] == "cache"
    assert without_places("data/digits") == "data/digits"


@pytest.mark.parametrize("name", ["", "a b/c", "a/b/c", "../x", "me/-net"])
def test_a_name_that_the_hub_does_not_take_is_refused_before_any_work(
    hub: StandIn, name: str
) -> None:
    with pytest.raises(ValueError, match="repo_id="):
        push_to_hub(network(), name, api=hub)  # type: ignore[arg-type]
    assert not hub.calls


def test_who_is_not_logged_in_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ValueError, match="hf auth login"):
        push_to_hub(network(), "me/net")


def test_a_run_that_has_not_ended_is_refused(hub: StandIn, run: Path) -> None:
    (run / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"no run that has ended, it has no summary\.json"):
        push_to_hub(run, "me/net", api=hub)  # type: ignore[arg-type]
    (run / "summary.json").write_text('{"params/total": "many"}')
    with pytest.raises(ValueError, match="params/total"):
        push_to_hub(run, "me/net", api=hub)  # type: ignore[arg-type]
    assert not hub.calls


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"l1prune\[hub\]"):
        push_to_hub(network(), "me/net")
