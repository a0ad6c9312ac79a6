"""Source: a run or a file of weights can be made again, and runs nothing that nobody has read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from safetensors.torch import save_file

from l1prune.commands.place import CONF
from l1prune.commands.source import Source, composed
from l1prune.runs.files import read_yaml
from l1prune.runs.monitor import Monitor
from l1prune.zoo import Digits, mlp

DATA = {"_target_": "l1prune.zoo.Digits"}
MODEL = {
    "_target_": "l1prune.zoo.Classifier",
    "classes": 10,
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True},
    "network": {"_target_": "l1prune.zoo.mlp", "shape": [1, 8, 8], "classes": 10, "hidden": [8]},
}


@pytest.fixture
def leave(tmp_path: Path) -> Callable[..., Path]:
    """What a run leaves, as far as it is needed; with other settings, or without a file."""

    def left(without: str = "", **settings: Any) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        config = {"data": DATA, "model": MODEL, "seed": 0, **settings}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "summary.json").write_text("{}")
        save_file(mlp((1, 8, 8), 10, [8]).state_dict(), run / "model.safetensors")
        (run / without).unlink() if without else None
        return run

    return left


def test_a_run_is_made_again_from_its_folder_or_its_file(leave: Callable[..., Path]) -> None:
    run = leave()
    for path in (run, run / "model.safetensors"):
        source = Source.of(path, [])
        module, data = source.made()
        assert source.weights == run / "model.safetensors"
        assert isinstance(data, Digits)
        assert [*module.network.state_dict()] == [*mlp((1, 8, 8), 10, [8]).state_dict()]


def test_weights_alone_are_what_the_settings_say(leave: Callable[..., Path]) -> None:
    file = leave(without="config.yaml") / "model.safetensors"
    module, data = Source.of(file, ["model=mlp", "data=digits", "model.network.hidden=[8]"]).made()
    assert module.network[1].out_features == 8 and data.batch_size == 32
    with pytest.raises(ValueError, match=r"say what they are of, as model=mlp data=digits"):
        Source.of(file, [])
    with pytest.raises(ValueError, match="model=nonsense"):
        Source.of(file, ["model=nonsense"])


def test_single_values_may_be_others_now(leave: Callable[..., Path]) -> None:
    run = leave()
    assert Source.of(run, ["data.batch_size=7"]).made()[1].batch_size == 7
    for setting in ("model=lenet300", "data.batch_size", "seed=1"):
        with pytest.raises(ValueError, match=r"give single values, as data\.path=FOLDER"):
            Source.of(run, [setting])
    with pytest.raises(ValueError, match=r"data\.shape=\["):
        Source.of(run, ["data.shape=["])


@pytest.mark.parametrize(
    ("without", "complaint"),
    [
        ("summary.json", "a run that has not ended, or diverged"),
        ("config.yaml", "no run, it has no config.yaml"),
        ("model.safetensors", "has lost its model.safetensors"),
    ],
)
def test_what_is_no_run_or_has_not_ended_is_refused(
    without: str, complaint: str, leave: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Source.of(leave(without), [])


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or directory"):
        Source.of(tmp_path / "nowhere", [])


@pytest.mark.parametrize(
    "settings",
    [
        {"data": {"_target_": "os.system", "command": "touch {folder}/hurt"}},
        {"model": {**MODEL, "schedule": {"_target_": "builtins.eval", "_args_": ["1"]}}},
        {"model": {**MODEL, "more": [{"deep": {"_target_": "l1prune.zoo.os.system"}}]}},
        {"data": {"_target_": "l1prune.runs.wandb.wandb_logger", "save_dir": "{folder}/hurt"}},
        {"model": {**MODEL, "more": DATA}},
        {"data": {**DATA, "more": MODEL["optimizer"]}},
    ],
)
def test_what_a_folder_names_is_not_called_unless_it_is_known(
    settings: dict[str, Any], leave: Callable[..., Path], tmp_path: Path
) -> None:
    run = leave(**json.loads(json.dumps(settings).replace("{folder}", str(tmp_path))))
    with pytest.raises(ValueError, match=r"which conf/\w+/ does not, and which would be called"):
        Source.of(run, []).made()
    assert not (tmp_path / "hurt").exists()


def test_what_the_command_line_names_is_trusted(leave: Callable[..., Path]) -> None:
    run = leave(data={"_target_": "l1prune.zoo.digits.Digits"})
    assert isinstance(Source.of(run, ["data._target_=l1prune.zoo.digits.Digits"]).made()[1], Digits)


def test_what_the_command_line_names_is_trusted_where_it_says_so(
    leave: Callable[..., Path],
) -> None:
    run = leave(data=MODEL["network"])
    with pytest.raises(ValueError, match=r"which conf/data/ does not"):
        Source.of(run, ["model.network._target_=l1prune.zoo.mlp"])


@pytest.mark.parametrize("choice", ["digits", "mnist", "shakespeare"])
def test_all_data_that_conf_names_is_known(choice: str, leave: Callable[..., Path]) -> None:
    run = leave(data=read_yaml(CONF / "data" / f"{choice}.yaml"))
    assert Source.of(run, []).config.data._target_.startswith("l1prune.zoo.")


@pytest.mark.parametrize("choice", ["mlp", "lenet300", "lenet5", "resnet20", "gpt"])
def test_all_models_that_conf_names_are_known(choice: str, leave: Callable[..., Path]) -> None:
    composition = OmegaConf.to_container(composed([f"model={choice}"]).model, resolve=False)
    run = leave(model=composition, data={**DATA, "length": 8, "classes": 10, "shape": [1, 8, 8]})
    assert Source.of(run, []).config.model._target_ == "l1prune.zoo.Classifier"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "???"}, "Missing mandatory value: model"),
        ({"model": {**MODEL, "_target_": "???"}}, r"Missing mandatory value: model\._target_"),
        ({"data": {**DATA, "val_fraction": "???"}}, r"Missing mandatory value: data\.val_fraction"),
        ({"data": "${nothing}"}, "'nothing' not found"),
        ({"data": {**DATA, "seed": "${"}}, ""),
        ({"data": {**DATA, "seed": "${data.seed}"}}, "Recursive interpolation"),
    ],
)
def test_a_value_that_is_not_there_is_named(
    settings: dict[str, Any], complaint: str, leave: Callable[..., Path]
) -> None:
    run = leave(**settings)
    with pytest.raises(ValueError, match=rf"config\.yaml: .*{complaint}"):
        Source.of(run, [])


@pytest.mark.parametrize("text", ["", "[1]", "data: 1\n", "a: [\n", "data: x\nmodel: y\n"])
def test_another_configuration_is_refused(text: str, leave: Callable[..., Path]) -> None:
    run = leave()
    (run / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml|cannot be made"):
        Source.of(run, []).made()


def test_what_is_no_module_of_lightning_is_refused(leave: Callable[..., Path]) -> None:
    run = leave(model=MODEL["network"])  # the network itself
    with pytest.raises(ValueError, match="makes a Sequential, and must make a LightningModule"):
        Source.of(run, []).made()


def test_data_that_is_none_is_refused(leave: Callable[..., Path]) -> None:
    run = leave(data={"_target_": "l1prune.L1"})
    with pytest.raises(ValueError, match="makes a L1, and must make a LightningDataModule"):
        Source.of(run, ["data._target_=l1prune.L1"]).made()


def test_what_a_folder_of_ones_own_names_is_trusted(
    leave: Callable[..., Path], tmp_path: Path
) -> None:
    target = "lightning.pytorch.demos.boring_classes.BoringModel"
    run = leave(model={"_target_": target}, data=None)
    with pytest.raises(ValueError, match=r"BoringModel, which conf/model/ .* --config-dir FOLDER"):
        Source.of(run, [])
    own = tmp_path / "mine" / "model"
    own.mkdir(parents=True)
    (own / "own.yaml").write_text(f"_target_: {target}\n")
    source = Source.of(run, [], own.parent)
    module, data = source.made()
    assert type(module).__name__ == "BoringModel" and data is None
    weights = run / "model.safetensors"
    again = Source.of(weights, ["model=own", "data=none"], own.parent)
    assert again.config.model._target_ == target and again.config.data is None


def test_a_run_says_by_what_it_was_judged(leave: Callable[..., Path]) -> None:
    run = leave()
    assert Source.of(run, []).monitor == Monitor()
    (run / "summary.json").write_text('{"monitor": "val/mse", "mode": "min"}')
    assert Source.of(run, []).monitor == Monitor("val/mse", "min")
    (run / "summary.json").write_text("[")
    assert Source.of(run / "model.safetensors", []).monitor is None


def test_what_cannot_be_made_says_why(leave: Callable[..., Path]) -> None:
    run = leave(data={**DATA, "val_fraction": 2})
    with pytest.raises(ValueError, match=r"cannot be made: data\.val_fraction=2"):
        Source.of(run, []).made()
