"""The configuration is found in a checkout and in an installed package; calls are told again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from l1prune.commands import place


def test_the_configuration_is_in_the_package_or_beside_it(tmp_path: Path) -> None:
    package = tmp_path / "l1prune"
    assert place.conf_folder(package) == tmp_path / "conf"
    (package / "conf").mkdir(parents=True)
    assert place.conf_folder(package) == package / "conf"
    assert (place.CONF / "train.yaml").is_file() and place.train_script().is_file()


def test_a_command_is_called_as_this_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["../scripts/train.py"])
    assert place.program("deploy") == ["python", "../scripts/deploy.py"]
    monkeypatch.setattr(sys, "argv", [str(Path(place.__file__).with_name("train.py"))])
    assert place.program("deploy") == ["l1prune", "deploy"]


def test_deploy_is_told_whose_classes_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    sources = [
        {"provider": "main", "path": "/conf"},
        {"provider": "command-line", "path": str(tmp_path / "mine")},
    ]
    task = ["model._target_=own.Regression", "+prune=l1", "+a={_target_: b}"]
    known = {"hydra": {"runtime": {"config_sources": sources}, "overrides": {"task": task}}}
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(known).hydra))
    assert place.trusted() == ["--config-dir", "mine", "model._target_=own.Regression"]
