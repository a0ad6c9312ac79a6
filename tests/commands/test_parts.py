"""What a configuration names is made, whoever's class it is; what cannot take part is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import own
import pytest
import torch
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import nn

from l1prune import L1Pruning
from l1prune.commands import parts
from l1prune.runs.monitor import Monitor


def config(**entries: Any) -> DictConfig:
    trainer = {"_target_": "lightning.Trainer", "accelerator": "cpu", "max_epochs": 2}
    whole = {"monitor": {"name": None, "mode": None}, "trainer": trainer, **entries}
    return OmegaConf.create(whole)


class Taking(own.Regression):
    """A class that takes `pretrained` itself, as many do."""

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.pretrained = pretrained


def test_a_module_and_its_data_are_of_any_class() -> None:
    model = parts.make_model(config(model={"_target_": "own.Regression", "width": 5}).model)
    assert isinstance(model, own.Regression) and model.layers[0].out_features == 5
    assert isinstance(parts.make_data(OmegaConf.create({"_target_": "own.Table"})), own.Table)
    assert parts.make_data(None) is None


def test_a_logger_that_is_missing_is_told_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(parts, "find_spec", lambda package: None)
    given = OmegaConf.create({"_target_": "lightning.pytorch.loggers.TensorBoardLogger"})
    with pytest.raises(ImportError, match=r"l1prune\[tensorboard\]"):
        parts.make_logger(given)
    assert parts.make_logger(None) is False


@pytest.mark.parametrize("chosen", [True, False])
def test_who_forgot_to_name_data_is_not_sent_for_those_of_the_default_alone(
    chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(parts, "is_chosen", lambda group: chosen)
    given = OmegaConf.create({"_target_": "l1prune.zoo.HubImages"})
    with pytest.raises((ImportError, InstantiationException), match=r"l1prune\[hub\]") as caught:
        parts.make_data(given)
    assert ("data=none" in str(caught.value)) is not chosen


def test_what_lightning_cannot_train_is_refused() -> None:
    wrong = OmegaConf.create({"_target_": "torch.nn.ReLU"})
    with pytest.raises(ValueError, match=r"model\._target_ makes a ReLU, and must make a Light"):
        parts.make_model(wrong)
    with pytest.raises(ValueError, match=r"data\._target_ makes a ReLU.*data=none is for"):
        parts.make_data(wrong)


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ({}, [[1, 2, 3]]),
        ({"groups": []}, None),  # each input by itself
        ({"groups": [[0, 3]]}, [[0, 3]]),
        ({"layer": "layers.2"}, None),  # which does not see the table
        ({"layer": "body"}, [[1, 2, 3]]),  # which is not there, or not yet
    ],
)
def test_inputs_are_features_as_the_table_says(given: Any, groups: Any) -> None:
    table = own.Table()
    table.features = {"age": (0,), "colour": (1, 2, 3)}  # type: ignore[attr-defined]
    recipe = OmegaConf.create(
        {"_target_": "l1prune.keep_features", "k": 1, "groups": None, **given}
    )
    pruning = parts.make_pruning(recipe, own.Regression(), table)
    assert pruning is not None
    assert getattr(pruning.recipe.penalty, "groups", None) == groups


def test_who_knows_no_groups_is_told_none() -> None:
    table = own.Table()
    table.features = {"age": (0,), "colour": (1, 2, 3)}  # type: ignore[attr-defined]
    recipe = OmegaConf.create({"_target_": "l1prune.L1Pruning"})
    assert isinstance(parts.make_pruning(recipe, own.Regression(), table), L1Pruning)
    assert parts.make_pruning(None, own.Regression(), table) is None


def test_weights_come_from_a_file_and_references_stay(tmp_path: Path) -> None:
    trained = own.Regression(6)
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    whole = config(
        size=6,
        model={
            "_target_": "own.Regression",
            "width": "${size}",
            "pretrained": str(tmp_path / "model.safetensors"),
        },
    )
    model = parts.make_model(whole.model)
    assert torch.equal(model.layers[0].weight, trained.layers[0].weight)  # type: ignore[union-attr,index,operator]
    whole.size = 7
    with pytest.raises(ValueError, match=r"shapes differ: layers\.0\.bias is 6 there and 7 here"):
        parts.make_model(whole.model)


@pytest.mark.parametrize(("given", "comes"), [(False, False), (None, True)])
def test_a_class_that_takes_pretrained_itself_is_given_it(
    given: bool | None, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "Taking", Taking, raising=False)
    model: Any = parts.make_model(OmegaConf.create({"_target_": "own.Taking", "pretrained": given}))
    assert model.pretrained is comes


@pytest.mark.parametrize("as_list", [True, False])
def test_callbacks_are_a_list_or_have_names(as_list: bool) -> None:
    one = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/mse"}
    (made,) = parts.make_callbacks(OmegaConf.create([one] if as_list else {"stop": one}))
    assert isinstance(made, EarlyStopping)
    assert parts.make_callbacks(None) == []


def test_the_metric_is_found_or_checked_in_what_is_logged() -> None:
    model, data = own.Regression(), own.Table()
    assert parts.find_monitor(config(), model, data) == Monitor("val/mse", "min")
    assert parts.find_monitor(config(), own.Whole(), None) == Monitor("val_loss", "min")
    with pytest.raises(ValueError, match=r"monitor=val/msee is not among .*: val/mse"):
        parts.find_monitor(config(monitor={"name": "val/msee", "mode": None}), model, data)


def test_callbacks_of_the_run_take_no_part_in_finding_it() -> None:
    entries = config().trainer
    entries.callbacks = [{"_target_": "no.such.callback"}]
    assert parts.find_monitor(config(trainer=entries), own.Regression(), own.Table()).mode == "min"


def test_a_module_that_cannot_be_tried_is_taken_at_its_word() -> None:
    class Remote(own.Regression):
        def setup(self, stage: str) -> None:
            raise RuntimeError("needs eight processes")

    with pytest.raises(RuntimeError, match="eight processes"):
        parts.find_monitor(config(), Remote(), own.Table())
    given = config(monitor={"name": "val/odd", "mode": "max"})
    assert parts.find_monitor(given, Remote(), own.Table()) == Monitor("val/odd", "max")


def test_the_plain_network_has_all_weights() -> None:
    class Split(own.Regression):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(1, 1)

    class Wrapped(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(1, 1)

    split, wrapped, plain = Split(), Wrapped(), own.Regression()
    assert parts.network_of(split) is split and parts.network_of(plain) is plain
    assert parts.network_of(wrapped) is wrapped.network


def test_a_test_needs_a_step_and_a_set() -> None:
    assert parts.has_test(own.Regression(), own.Table())
    assert not parts.has_test(own.Whole(), None)
    assert not parts.has_test(own.Regression(), None)


def test_what_lies_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    parts.find_own_modules()
    parts.find_own_modules()
    assert sys.path.count(str(tmp_path)) == 1 and sys.path[0] == str(tmp_path)
