"""The command line: every choice builds, a run leaves what it promises, wrong input is refused."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import own
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

import l1prune
from l1prune import (
    MCP,
    Budget,
    Cost,
    HoldPeak,
    L1Pruning,
    LastCheckpoint,
    Linear,
    Magnitude,
    Refit,
    SparsityPath,
    Wanda,
)
from l1prune.commands import deploy
from l1prune.commands.parts import make_data, make_model
from l1prune.commands.train import as_node, chosen_objects
from l1prune.deploy import compact, variants
from l1prune.deploy.latency import Latency
from l1prune.runs import wandb
from l1prune.runs.curves import read_history
from l1prune.runs.folder import RunFolder
from l1prune.runs.overrides import spelled_out
from l1prune.training import loggers
from l1prune.zoo import Classifier, mlp

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train.py"
CHOICES = sorted(path.relative_to(ROOT / "conf") for path in ROOT.glob("conf/*/**/[!_]*.yaml"))
OBJECTS = [path for path in CHOICES if len(path.parts) > 2 and path.parts[0] == "prune"]


def choices(group: str) -> list[str]:
    return [path.stem for path in CHOICES if path.parent.as_posix() == group]


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Callable[..., DictConfig]]:
    def made(*overrides: str) -> DictConfig:
        config = compose("train", [f"run_dir={tmp_path}", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # which knows the choices by name
        return config

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield made
    HydraConfig.instance().cfg = None


# ---- the choices


@pytest.mark.parametrize("path", CHOICES, ids=str)
def test_every_choice_explains_itself_in_its_file_and_in_the_help(path: Path) -> None:
    lines = (ROOT / "conf" / path).read_text().splitlines()
    assert next(line for line in lines if "@package" not in line).startswith("# ")
    help_text = OmegaConf.load(ROOT / "conf" / "train.yaml").hydra.help.template
    assert path.stem == "default" or path.stem in help_text


@pytest.mark.parametrize("name", sorted({*choices("model")} - {"gpt", "class", "tabular_mlp"}))
def test_every_image_model_fits_itself_to_the_data(
    composed: Callable[..., DictConfig], name: str
) -> None:
    config = composed(f"model={name}", "data=mnist")
    assert make_model(config.model)(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_the_model_for_tables_fits_itself_to_the_table(
    composed: Callable[..., DictConfig],
) -> None:
    config = composed("model=tabular_mlp", "data=breast_cancer")
    model = make_model(config.model, make_data(config.data))
    assert model(torch.rand(5, 30)).shape == (5, 2)


def test_the_gpt_fits_itself_to_the_text(composed: Callable[..., DictConfig]) -> None:
    config = composed("model=gpt", "data=shakespeare", "data.length=8", "data.classes=30")
    tokens = torch.zeros(2, 8, dtype=torch.long)
    assert make_model(config.model)(tokens).shape == (2, 8, 30)


ISOLET = Path(__file__).parents[3] / "shared" / "data" / "isolet"


@pytest.mark.parametrize("name", sorted({*choices("data")} - {"class", "none"}))
def test_every_data_set_takes_the_seed(
    composed: Callable[..., DictConfig], name: str, tmp_path: Path
) -> None:
    if name == "mnist" and importlib.util.find_spec("datasets") is None:
        pytest.skip("needs the extra 'hub'")
    table = tmp_path / "table.csv"
    table.write_text("x,y\n" + "1,a\n2,b\n" * 20)
    own = {"csv": [f"data.path={table}", "data.target=y"], "isolet": [f"data.path={ISOLET}"]}
    if name == "isolet" and not ISOLET.exists():
        pytest.skip("needs Isolet.mat in ../shared/data/isolet")
    data = instantiate(composed(f"data={name}", "seed=7", *own.get(name, [])).data)
    assert isinstance(data, L.LightningDataModule)
    assert data.seed == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", sorted({*choices("prune")} - {"budget", "channels", "features", "path"})
)
def test_every_way_to_prune_takes_the_usual_overrides(
    composed: Callable[..., DictConfig], name: str
) -> None:
    usual = ("prune.strength=3e-4", "prune.threshold.sparsity=0.98", "prune.prune_at=0.5")
    assert isinstance(instantiate(composed(f"+prune={name}").prune), L1Pruning)
    pruning = instantiate(composed(f"+prune={name}", *usual).prune)
    assert pruning.recipe.threshold.sparsity == 0.98
    assert pruning.recipe.prune_at[-1] == 0.5


def test_stages_take_overrides_of_their_own(composed: Callable[..., DictConfig]) -> None:
    judged = ("monitor.name=val/accuracy", "prune.threshold.max_drop=0.01")
    budget = instantiate(composed("+prune=budget", *judged).prune)
    assert budget.recipe.threshold == Budget("val/accuracy", 0.01)
    odd = instantiate(composed("+prune=budget", *judged, "monitor.mode=min").prune)
    assert odd.recipe.threshold.higher_is_better is False
    path = instantiate(composed("+prune=path", "prune.threshold.sparsities=[0.5,0.9]").prune)
    assert path.recipe.threshold == SparsityPath((0.5, 0.9))
    assert composed("+prune=path", "trainer.max_epochs=20").trainer.max_epochs == 20
    channels = ("+prune=channels", "prune.threshold.left=0.3", "+prune.threshold.multiple=8")
    assert instantiate(composed(*channels).prune).recipe.threshold == Cost("macs", 0.3, multiple=8)


@pytest.mark.parametrize("name", choices("logger"))
def test_every_logger_stays_in_the_run_directory(
    composed: Callable[..., DictConfig], name: str, tmp_path: Path
) -> None:
    if name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        pytest.skip("needs tensorboard")
    logger = instantiate(composed(f"logger={name}").logger)
    if name == "none":
        assert logger is None
    else:
        assert isinstance(logger, Logger)
        assert Path(logger.save_dir or "").is_relative_to(tmp_path)


def test_a_tracked_run_is_labelled_with_its_choices(composed: Callable[..., DictConfig]) -> None:
    dense = composed("logger=wandb").logger
    assert (dense.group, dense.tags) == ("digits-mlp", ["digits", "mlp", None, None, None])
    pruned = composed("logger=wandb", "experiment=mnist_lenet300_66x").logger
    assert pruned.group == "mnist-lenet300"
    assert pruned.tags == ["mnist", "lenet300", "l1", "mnist_lenet300_66x", None]
    composed("+prune=l1", "prune/penalty=group_l1", "prune/threshold=magnitude", "seed=1")
    assert chosen_objects() == "penalty=group_l1 threshold=magnitude"


# ---- every socket is a group


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_every_object_can_be_chosen_and_made(
    composed: Callable[..., DictConfig], path: Path
) -> None:
    group = path.parent.as_posix()
    config = composed("+prune=l1", f"{group}={path.stem}", "monitor.name=val/mse")
    socket = group.split("/")[1]
    made, named = getattr(instantiate(config.prune).recipe, socket), config.prune[socket]
    if socket != "prune_at":  # shares of the run
        if group.endswith("scope"):
            made, named = made.scope, named.scope
        assert f"l1prune.{type(made).__name__}" == named._target_


def test_every_public_object_of_a_socket_is_among_them() -> None:
    targets = {
        one["_target_"].removeprefix("l1prune.")
        for one in map(OmegaConf.load, (ROOT / "conf" / path for path in OBJECTS))
        if "_target_" in one
    }
    protocols = {"Penalty", "Threshold", "Criterion", "Schedule", "Form", "Plan", "Scope"}
    rooms = ("penalties", "cuts", "pressure.schedules", "pressure.forms", "channels")
    for room in (*rooms, "training.rates"):
        for known, names in l1prune.ROOMS.items():
            if known.startswith(room):
                # `Join` takes other schedules, `Cut` is for torch.nn.utils.prune.
                assert {*names.split()} <= targets | protocols | {"Join", "Cut"}, known


@pytest.mark.parametrize(
    ("option", "socket", "made"),
    [
        ("prune.threshold={_target_: l1prune.Magnitude, cut: 1e-3}", "threshold", Magnitude(1e-3)),
        ("prune.penalty={_target_: l1prune.MCP}", "penalty", MCP()),
        ("prune.strength={_target_: l1prune.Linear, start: 0, end: 1}", "strength", Linear(0, 1)),
    ],
)
def test_an_object_that_is_written_out_takes_the_place_of_another(
    composed: Callable[..., DictConfig], option: str, socket: str, made: Any
) -> None:
    config = composed("+prune=l1", *spelled_out([option]))
    assert getattr(instantiate(config.prune).recipe, socket) == made


def test_finetuning_fits_what_is_left(composed: Callable[..., DictConfig]) -> None:
    plain = instantiate(composed("+prune=finetune").prune)
    assert repr(plain.recipe.criterion) == repr(Refit())
    assert plain.recipe.rewind == HoldPeak()
    other = instantiate(composed("+prune=finetune", "prune/criterion=wanda").prune)
    assert repr(other.recipe.criterion) == repr(Refit(Wanda()))


@pytest.mark.parametrize("name", choices("sweep"))
def test_what_a_sweep_of_wandb_sets_is_there_to_be_set(
    composed: Callable[..., DictConfig], name: str
) -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "sweep" / f"{name}.yaml"))
    assert isinstance(sweep, dict)
    fixed = [word for word in sweep["command"] if "=" in word]
    swept = [f"{key}={spec['values'][0]}" for key, spec in sweep["parameters"].items()]
    assert composed(*fixed, *swept).logger.offline is False
    assert (ROOT / sweep["program"]).samefile(SCRIPT)


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_composes(composed: Callable[..., DictConfig], name: str) -> None:
    config = composed(f"experiment={name}", "trainer.max_epochs=2", "prune.strength=3e-4")
    assert config.trainer.max_epochs == 2
    assert isinstance(instantiate(config.prune), L1Pruning)


# ---- a run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same pruned run twice, as a user starts it, with one between that cannot be, and what
    the screen shows.
    """
    folder = tmp_path_factory.mktemp("sweep")
    options = ["-m", "+prune=l1", "seed=3,-1,3", "logger=csv", "trainer.max_epochs=3"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options, f"hydra.sweep.dir={folder / 'runs'}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert [path.name for path in folder.iterdir()] == ["runs"]
    return folder / "runs", done.stdout + done.stderr


def summary(run: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return figures


def test_the_summary_counts_what_is_stored(sweep: tuple[Path, str]) -> None:
    run = sweep[0] / "0"
    figures, stored = summary(run), load_file(run / "model.safetensors")
    weights = [tensor for tensor in stored.values() if tensor.ndim > 1]
    nonzero = sum(int(tensor.count_nonzero()) for tensor in weights)
    prunable = sum(tensor.numel() for tensor in weights)
    assert figures["params/nonzero"] == nonzero
    assert figures["params/prunable"] == prunable == 50_432
    assert figures["params/total"] == sum(tensor.numel() for tensor in stored.values())
    assert figures["params/sparsity"] == pytest.approx(1 - nonzero / prunable, rel=1e-5)
    assert figures["params/sparsity"] >= 0.95
    assert figures["params/compression"] == pytest.approx(prunable / nonzero, rel=1e-5)
    assert figures["seed"] == 3
    assert figures["seconds"] > 0


def test_the_stored_weights_load_into_the_plain_network_and_score_as_reported(
    sweep: tuple[Path, str],
) -> None:
    run = sweep[0] / "0"
    network = mlp((1, 8, 8), 10)
    network.load_state_dict(load_file(run / "model.safetensors"))
    data = instantiate(OmegaConf.load(run / "config.yaml").data)
    data.setup("test")
    for split, part in (("val", data.val), ("test", data.test)):
        right = (network(part.inputs).argmax(1) == part.labels).double().mean().item()
        assert summary(run)[f"{split}/accuracy"] == pytest.approx(right, abs=1e-6)


def test_the_report_has_a_line_per_layer(sweep: tuple[Path, str]) -> None:
    run = sweep[0] / "0"
    with (run / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["shape"] for row in rows] == ["256x64", "128x256", "10x128"]
    assert sum(int(row["nonzero"]) for row in rows) == summary(run)["params/nonzero"]


def test_the_history_ends_where_the_summary_says(sweep: tuple[Path, str]) -> None:
    run = sweep[0] / "0"
    history = read_history(run / "history.csv")
    assert list(history["epoch"]) == list(range(len(history["epoch"])))
    assert history["params/nonzero"][-1] == summary(run)["params/nonzero"]
    assert history["val/accuracy"][-1] == pytest.approx(summary(run)["val/accuracy"], abs=1e-6)
    assert not any(map(math.isnan, history["train/loss"]))


def test_the_best_checkpoint_is_a_sparse_one(sweep: tuple[Path, str]) -> None:
    run = sweep[0] / "0"
    weights = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    nonzero = sum(int(tensor.count_nonzero()) for tensor in weights.values() if tensor.ndim > 1)
    assert nonzero == summary(run)["params/nonzero"]


def test_the_logger_was_told_every_epoch(sweep: tuple[Path, str]) -> None:
    with (sweep[0] / "0" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for metric in ("val/accuracy", "train/loss", "params/nonzero", "prune/strength"):
        assert sum(bool(row[metric]) for row in rows) == 3, metric
    assert sum(bool(row["test/accuracy"]) for row in rows) == 1


def test_the_same_seed_gives_the_same_bytes(sweep: tuple[Path, str]) -> None:
    one, other = ((sweep[0] / job / "model.safetensors").read_bytes() for job in "02")
    assert one == other


def test_a_run_ends_with_its_table(sweep: tuple[Path, str]) -> None:
    run = sweep[0] / "2"
    *table, last, outlook = sweep[1].partition("\n| recipe ")[0].rstrip().splitlines()[-14:]
    assert table[0].split() == ["layer", "shape", "weights", "left", "zeros"]
    assert last.startswith(f"test accuracy {100 * summary(run)['test/accuracy']:.2f} %")
    stored = load_file(run / "model.safetensors")
    network = mlp((1, 8, 8), 10).eval()
    network.load_state_dict(stored)
    left = compact(network, torch.zeros(2, 1, 8, 8)).report.after
    assert outlook.startswith(f"deploy: 50,826 → {left:,} parameters")
    assert outlook.endswith(f"; python {SCRIPT.with_name('deploy.py')} {run} writes it")


def test_a_sweep_ends_with_the_comparison_and_what_failed(sweep: tuple[Path, str]) -> None:
    folder, screen = sweep
    _, _, end = screen.partition("\n| recipe ")
    (row,) = end.partition("\n\n")[0].splitlines()[2:]
    cells = [cell.strip() for cell in row.split("|")[1:5]]
    assert cells == ["l1", "2,521 (20.0×)", "2,915 (17.4×)", "3 (2 runs)"]
    assert (folder / "frontier.png").exists()
    assert "1 of 3 jobs failed:" in end
    *_, which, why = end.strip().splitlines()
    assert f"{folder / '1'}: +prune=l1 seed=-1 " in which
    assert why.strip().startswith("Cannot train like this: seed=-1")
    assert why.strip() == (folder / "1" / "error.txt").read_text().strip()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Start the script with the given options, in this process."""
    threads = torch.get_num_threads()

    def run(*options: str) -> None:
        quick = ("logger=none", "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}")
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *quick, *options])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    yield run
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def test_nothing_was_pruned_and_nothing_gets_smaller(
    start: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    out = capsys.readouterr().out
    assert "has everything this run leaves" in out and "deploy:" not in out


def test_any_callback_may_prune(start: Callable[..., None], tmp_path: Path) -> None:
    own = "{_target_: lightning.pytorch.callbacks.ModelPruning, pruning_fn: l1_unstructured,"
    start("trainer.max_epochs=3", f"+prune={own} parameter_names: [weight], amount: 1000}}")
    figures = summary(tmp_path)
    assert figures["params/prunable"] - figures["params/nonzero"] == 3000  # at each epoch's end


# ---- a model of one's own


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module and data that nobody has heard of, trained as their user would."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "tests" / "own.py", folder / "mymodule.py")
    for group, name in (("model", "Regression"), ("data", "Table")):
        (folder / "mine" / group).mkdir(parents=True)
        (folder / "mine" / group / "own.yaml").write_text(f"_target_: mymodule.{name}\n")
    options = ["--config-dir", "mine", "model=own", "data=own", "+prune=l1", "logger=csv"]
    options += ["trainer.max_epochs=8", "prune.threshold.sparsity=0.5", "hydra.run.dir=run"]
    stop = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/mse, patience: 99}"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options, f"trainer.callbacks=[{stop}]"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    return folder


def test_a_module_of_ones_own_is_judged_by_what_it_logs(own_run: Path) -> None:
    figures = summary(own_run / "run")
    assert (figures["monitor"], figures["mode"]) == ("val/mse", "min")
    assert figures["val/mse"] > 0 and figures["test/mse"] > 0
    assert figures["params/nonzero"] == 40
    out = (own_run / "out.txt").read_text()
    assert f"test mse {figures['test/mse']:#.4g}, validation mse " in out
    assert f"deploy.py {own_run / 'run'} --config-dir mine writes it" in out


def test_its_weights_are_its_own_and_score_as_reported(own_run: Path) -> None:
    module = own.Regression()
    module.load_state_dict(load_file(own_run / "run" / "model.safetensors"))
    data = own.Table()
    data.setup("test")
    x, y = data.parts[2][:]
    error = (module(x) - y).square().mean().item()
    assert summary(own_run / "run")["test/mse"] == pytest.approx(error, rel=1e-4)


def test_its_best_is_its_lowest_after_the_last_cut(own_run: Path) -> None:
    best = torch.load(own_run / "run" / "best.ckpt", weights_only=True)
    history = read_history(own_run / "run" / "history.csv")
    left = history["params/nonzero"]
    arrived = {e: v for e, v in enumerate(history["val/mse"]) if left[e] == left[-1]}
    assert best["epoch"] == min(arrived, key=lambda epoch: float(arrived[epoch]))
    assert any("EarlyStopping" in name for name in best["callbacks"])


def test_it_is_deployed_where_its_configurations_are_trusted(
    own_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(own_run)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert deploy.main(["run"]) == 2
    assert "--config-dir FOLDER" in capsys.readouterr().err
    monkeypatch.setattr(variants, "latencies", lambda calls: dict.fromkeys(calls, Latency(1, 1)))
    threads = torch.get_num_threads()
    assert deploy.main(["run", "--config-dir", "mine"]) == 0
    torch.set_num_threads(threads)
    written = json.loads((own_run / "run" / "deploy" / "deploy.json").read_text())
    assert written["metric"] == "test/mse"
    dense, *_ = written["variants"]
    assert dense["figures"]["test/mse"] == pytest.approx(
        summary(own_run / "run")["test/mse"], rel=1e-5
    )


def test_a_run_may_end_by_time(start: Callable[..., None], tmp_path: Path) -> None:
    start("model=class", "model._target_=own.Whole", "data=none", "threads=1",
          "+trainer.max_time={seconds: 1}", "trainer.max_epochs=-1")  # fmt: skip
    assert summary(tmp_path)["seconds"] >= 1


def test_a_module_with_loaders_and_a_loss_alone_is_trained(
    start: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start("model=class", "model._target_=own.Whole", "data=none", "+prune=path", "threads=1",
          "prune.threshold.sparsities=[0.5,0.8]", "trainer.max_epochs=4")  # fmt: skip
    figures = summary(tmp_path)
    assert (figures["monitor"], figures["mode"]) == ("val_loss", "min")
    assert not any(name.startswith("test") for name in figures)
    stages = json.loads((tmp_path / "frontier.json").read_text())
    assert [sorted(one) for one in stages] == [
        ["checkpoint", "params/nonzero", "sparsity", "val_loss"]
    ] * 2
    out = capsys.readouterr().out
    assert "validation loss" in out and "test" not in out.splitlines()[-1]


@pytest.mark.parametrize("given", ["val/mse", {"name": "val/mse"}, None])
def test_a_metric_is_said_in_short_or_in_full(given: Any) -> None:
    assert as_node(given) == {"name": given and "val/mse", "mode": None}


def test_weights_to_begin_with_come_from_a_run(
    own_run: Path, start: Callable[..., None], tmp_path: Path
) -> None:
    weights = own_run / "run" / "model.safetensors"
    start("model=class", "model._target_=own.Regression", "data=class", "data._target_=own.Table",
          f"model.pretrained={weights}", "trainer.max_epochs=1",
          "+prune=finetune", "prune.prune_at=0.5", "prune.threshold.sparsity=0.6")  # fmt: skip
    begun, ended = load_file(weights), load_file(tmp_path / "model.safetensors")
    for name, weight in begun.items():
        assert (ended[name] == 0).sum() >= (weight == 0).sum(), name
    assert summary(tmp_path)["params/sparsity"] >= 0.6


# ---- what only some need


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("sklearn", [], r"Digits needs sklearn: pip install 'l1prune\[zoo\]'"),
        ("wandb", ["logger=wandb"], r"wandb"),
    ],
)
def test_what_a_run_lacks_is_said_before_it_trains(
    package: str, options: list[str], message: str, refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    loaded = [one for one in sys.modules if one.partition(".")[0] == package]
    for name in (package, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    said = refusal(*options)
    assert said.startswith("Cannot train like this: ") and re.search(message, said), said


def test_a_missing_picture_ends_no_run(
    start: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"matplotlib", *(one for one in sys.modules if one.startswith("matplotlib"))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.warns(UserWarning, match=r"no frontier\.png: .*pip install 'l1prune\[plots\]'"):
        start("+prune=path", "prune.threshold.sparsities=[0.5,0.8]", "trainer.max_epochs=4")
    assert (tmp_path / "summary.json").exists() and not (tmp_path / "frontier.png").exists()


# ---- what is refused


@pytest.fixture
def refusal(start: Callable[..., None], tmp_path: Path) -> Callable[..., str]:
    """Start the script with the given options and return the one message it ends with."""

    def refused(*options: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            start(*options)
        assert not (tmp_path / "summary.json").exists()
        return str(exit_.value.code)

    return refused


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("prune.threshold.sparsity=1.5", "sparsity .* 1.5"),
        ("prune.prune_at=1.2", "prune_at .* 1.2"),
        ("prune.strength=-1", "strength must be .* got -1"),
        ("prune.threshold.sparsity=0.99999", "sparsity 0.99999 leaves 0 weights"),
        (
            "prune.targets=[{_target_: l1prune.ByName, pattern: nowhere}]",
            "nowhere.* fits no weight",
        ),
        ("trainer.max_epochs=0", "max_epochs=0.* no training at all"),
        ("trainer.max_steps=1", "does not fit a run of 1 step"),
        ("trainer.accelerator=abacus", "abacus"),
        ("data.batch_size=0", "data.batch_size=0"),
        ("seed=-1", "seed=-1"),
        ("model=lenet5", "at least 16 × 16"),
        ("model=gpt", "model=gpt needs another kind of data than data=digits"),
        ("data=shakespeare", "model=mlp needs another kind of data than data=shakespeare"),
        ("+sweep=frontier", "sweep.command"),
    ],
)
def test_wrong_input_ends_in_one_readable_message(
    refusal: Callable[..., str], option: str, message: str
) -> None:
    said = refusal("+prune=l1", option)
    assert said.startswith("Cannot train like this: ")
    assert said.count("\n") < 5

    assert re.search(message, said), said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["monitor=val/mse"], r"monitor=val/mse is not among .*: val/loss, val/accuracy"),
        (["model.pretrained=nowhere"], "nowhere: no such file"),
        (["trainer.max_epochs=0"], "no training at all"),
        (["seed=-1", "+prune=l1"], "seed=-1"),
        (["+prune=l1", "prune.threshold.sparsity=0.99999"], "leaves 0 weights"),
        (["logger=csv", "+prune=l1", "prune.prune_at=100000"], "prune_at"),
        (["data=none"], "model=mlp needs another kind of data than data=none"),
        (["model=class"], r"model\._target_ is missing"),
    ],
    ids=lambda options: "-".join(options) if isinstance(options, list) else "",
)
def test_a_refused_run_leaves_no_folder(
    options: list[str], message: str, start: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "outputs").mkdir()
    with pytest.raises(SystemExit) as exit_:
        start("trainer.max_epochs=1", *options, f"hydra.run.dir={tmp_path}/outputs/today/now")
    assert re.search(message, str(exit_.value.code)), exit_.value.code
    assert not list((tmp_path / "outputs").iterdir())


def test_a_missing_data_path_is_named(refusal: Callable[..., str]) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'hub'")
    assert "data.path=./nowhere: no such folder" in refusal("data=mnist", "data.path=./nowhere")


def test_an_unknown_choice_is_answered_with_the_known_ones(
    refusal: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal("+prune=l7") == "1"
    said = capsys.readouterr().err
    assert "l7" in said
    assert all(name in said for name in choices("prune"))
    assert "Traceback" not in said


def test_an_error_after_the_first_step_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    def broken(self: object) -> None:
        raise ValueError("a defect, not an input")

    monkeypatch.setattr(Classifier, "on_train_epoch_end", broken)
    assert refusal() == "1"  # Hydra's way out, traceback printed


# ---- training that came to nothing


@pytest.mark.parametrize("recipe", [[], ["+prune=l1"], ["+prune=gradual"]], ids=str)
def test_a_run_that_diverged_has_not_succeeded(
    refusal: Callable[..., str], recipe: list[str]
) -> None:
    said = refusal(*recipe, "model.optimizer.lr=1e30")
    assert re.search(
        "has stopped: .* (NaN|nan).*: training diverged .*; try a lower learning rate", said
    )
    assert said.count("\n") == 0
    assert refusal(*recipe, "model.optimizer.lr=1e30") == said  # nor does it the second time


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_single_weight_is_enough(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str], number: float, epoch: int
) -> None:
    def spoil(self: Any) -> None:
        if self.current_epoch == epoch:
            next(self.parameters()).data.view(-1)[0] = number

    monkeypatch.setattr(Classifier, "on_train_epoch_end", spoil)
    assert "NaN or infinity: training diverged" in refusal()


def test_a_full_disk_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str], tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LastCheckpoint, "_save", full)
    said = refusal()
    assert said.startswith(
        f"The run in {tmp_path} has stopped: [Errno 28] No space left on device;"
    )
    assert "the same command goes on" in said and said.count("\n") == 0


# ---- killed and started again


@pytest.mark.parametrize(
    ("owner", "moment"),
    [
        (RunFolder, "keep"),
        (wandb, "log_frontier"),
        (wandb, "log_model"),
        (loggers, "summarise"),
        (wandb, "finish"),
        (RunFolder, "end"),
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [False, True])
def test_a_finish_that_was_cut_off_is_finished_by_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., None],
    tmp_path: Path,
    owner: Any,
    moment: str,
    after: bool,
) -> None:
    original = getattr(owner, moment)

    def killed(*arguments: Any) -> None:
        fitting = moment == "summarise" and len(arguments) == 2  # which tells no figures yet
        if after or fitting:
            original(*arguments)
        if not fitting:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            start()
    told = []
    for name in ("log_frontier", "log_model", "finish"):
        monkeypatch.setattr(wandb, name, lambda *_, name=name: told.append(name))
    start()
    ended = after and moment == "end"
    assert told == ([] if ended else ["log_frontier", "log_model", "log_model", "finish"])
    assert (tmp_path / "summary.json").exists()
    told.clear()
    start()  # which has this run already
    assert not told


def test_killed_twice_and_started_again_a_run_leaves_the_same_bytes(tmp_path: Path) -> None:
    options = ["+prune=l1", "logger=none", "trainer.max_epochs=4", "save_every=9"]

    def start(folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *options, f"hydra.run.dir={tmp_path / folder}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    peace = start("peace")
    last = tmp_path / "war" / "last.ckpt"
    for saves in (3, 6):  # in the first epoch and beyond it
        process, seen = start("war"), set()
        while len(seen) < saves and process.poll() is None:
            if last.exists():
                seen.add(last.stat().st_mtime_ns)
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert not (tmp_path / "war" / "summary.json").exists()
    assert start("war").wait() == peace.wait() == 0
    one, other = (tmp_path / name / "model.safetensors" for name in ("peace", "war"))
    assert one.read_bytes() == other.read_bytes()


# ---- many processes


def test_processes_that_share_each_batch_train_the_network_that_one_trains(tmp_path: Path) -> None:
    options = ["+prune=l1", "logger=csv", "trainer.max_epochs=3", "data.batch_size=64"]
    said = {}
    for trainer in ("default", "ddp", "fsdp"):  # at once, two could draw the same port
        command = [sys.executable, str(SCRIPT), *options, f"trainer={trainer}"]
        said[trainer] = subprocess.run(
            [*command, f"hydra.run.dir={tmp_path / trainer}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    one = load_file(tmp_path / "default" / "model.safetensors")
    for trainer in ("ddp", "fsdp"):
        run = tmp_path / trainer
        shared = load_file(run / "model.safetensors")
        for name, weight in one.items():
            torch.testing.assert_close(shared[name], weight, rtol=1e-4, atol=1e-5)
            assert torch.equal(shared[name] == 0, weight == 0)
        assert summary(run)["test/accuracy"] == summary(tmp_path / "default")["test/accuracy"]
        assert said[trainer].count("has everything this run leaves") == 1
        with (run / "csv" / "metrics.csv").open() as file:
            assert sum(bool(row["val/accuracy"]) for row in csv.DictReader(file)) == 3
