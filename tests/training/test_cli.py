"""The callback from a LightningCLI configuration: `class_path: l1prune.L1Pruning`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

import l1prune
from l1prune import L1, ElasticNet, Global, L1Pruning, OptimizerMetric, Proximal, Sparsity
from l1prune.pressure.schedules import Linear

# jsonargparse, of names that it has renamed since.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["main.py"])


def configured(tmp_path: Path, arguments: dict[str, Any]) -> tuple[LightningCLI, L1Pruning]:
    """The command line and the callback that these arguments make of a configuration file."""
    pruning = {"class_path": "l1prune.L1Pruning", "init_args": arguments}
    trainer = {"max_epochs": 2, "accelerator": "cpu", "logger": False, "callbacks": [pruning]}
    trainer |= {"enable_checkpointing": False, "enable_progress_bar": False}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    cli = LightningCLI(
        BoringModel,
        BoringDataModule,
        args=["--config", str(tmp_path / "config.yaml")],
        run=False,
        save_config_callback=None,
        seed_everything_default=0,
    )
    (callback,) = [c for c in cli.trainer.callbacks if isinstance(c, L1Pruning)]
    return cli, callback


def a(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


def test_it_prunes_with_its_defaults(tmp_path: Path) -> None:
    cli, callback = configured(tmp_path, {})
    cli.trainer.fit(cli.model, cli.datamodule)
    assert callback.report is not None
    assert callback.report.sparsity >= 0.95


def test_every_argument_can_be_configured(tmp_path: Path) -> None:
    _, callback = configured(
        tmp_path,
        {
            "strength": a("l1prune.pressure.schedules.Linear", start=0.0, end=0.1),
            "threshold": a("l1prune.Sparsity", sparsity=0.8, scope=a("l1prune.Global")),
            "penalty": a("l1prune.ElasticNet", l1_ratio=0.7),
            "prune_at": [30, 50],
            "targets": {"layer": 2.0},
            "form": a("l1prune.Proximal", metric=a("l1prune.OptimizerMetric")),
        },
    )
    expected = L1Pruning(Linear(0.0, 0.1), l1prune.Sparsity(0.8, Global()), ElasticNet(0.7))
    assert (callback.recipe.threshold, callback.recipe.penalty) == (
        expected.recipe.threshold,
        expected.recipe.penalty,
    )
    assert callback.recipe.form == Proximal(OptimizerMetric())
    assert callback.recipe.prune_at == (30, 50) and all(
        type(at) is int for at in callback.recipe.prune_at
    )
    assert callback.recipe.targets == [l1prune.ByName("layer", 2.0)]


@pytest.mark.parametrize("prune_at", [0.5, 30, [0.3, 0.5]])
def test_numbers_keep_their_meaning(tmp_path: Path, prune_at: Any) -> None:
    _, callback = configured(tmp_path, {"strength": 1e-3, "threshold": 0.01, "prune_at": prune_at})
    assert callback.recipe.prune_at == (
        L1Pruning(threshold=0.01, prune_at=prune_at).recipe.prune_at
    )
    assert callback.recipe.threshold == l1prune.Magnitude(0.01)
    assert (callback.recipe.penalty, callback.recipe.form) == (L1(), None)


def pruning(**arguments: Any) -> dict[str, Any]:
    return a("l1prune.L1Pruning", **arguments)


def scoped(name: str) -> dict[str, Any]:
    return pruning(threshold=a("l1prune.Sparsity", sparsity=0.9, scope=a(name)))


CONSTANT = a("l1prune.Constant", value=1e-4)
MCP = a("l1prune.MCP")
CASES = {
    "BestCheckpoint": a("l1prune.BestCheckpoint", folder="run", monitor="val/loss"),
    "Budget": pruning(threshold=a("l1prune.Budget", monitor="val/accuracy", max_drop=0.01)),
    "ByName": pruning(targets=[a("l1prune.ByName", pattern="layer", factor=2.0)]),
    "ByPasses": pruning(strength=a("l1prune.ByPasses", passes=5.0)),
    "ByRegex": pruning(targets=a("l1prune.ByRegex", pattern="lay.*")),
    "ByType": pruning(targets=[a("l1prune.ByType", module="torch.nn.Linear"), "torch.nn.Conv2d"]),
    "ChannelL1": pruning(penalty=a("l1prune.ChannelL1")),
    "Constant": pruning(strength=CONSTANT),
    "Cosine": pruning(strength=a("l1prune.Cosine", start=0.0, end=1e-4)),
    "Cost": pruning(threshold=a("l1prune.Cost", measure="macs", left=0.5)),
    "Cubic": pruning(strength=a("l1prune.Cubic", start=0.0, end=1e-4)),
    "ElasticNet": pruning(penalty=a("l1prune.ElasticNet", l1_ratio=0.7)),
    "Euclidean": pruning(form=a("l1prune.Proximal", metric=a("l1prune.Euclidean"))),
    "Except": pruning(targets=a("l1prune.Except", rule="head.*")),
    "Count": pruning(threshold=a("l1prune.Count", units=20), penalty=a("l1prune.GroupL1", dim=1)),
    "FeaturePath": a("l1prune.FeaturePath", layer="layer"),
    "keep_features": a(
        "l1prune.keep_features", k=3, layer="layer", groups=[[0, 1]], prune_at=0.5, penalty=MCP
    ),
    "First": pruning(targets=[a("l1prune.First")]),
    "FeaturePenalty": pruning(
        penalty=a("l1prune.FeaturePenalty", penalty=a("l1prune.MCP"), layer=["layer"])
    ),
    "Follow": pruning(strength=a("l1prune.Follow", slack=0.1)),
    "Global": scoped("l1prune.Global"),
    "GroupL1": pruning(penalty=a("l1prune.GroupL1", dim=1)),
    "GroupLogSum": pruning(penalty=a("l1prune.GroupLogSum", dim=1)),
    "GroupMCP": pruning(penalty=a("l1prune.GroupMCP", dim=1)),
    "GroupSCAD": pruning(penalty=a("l1prune.GroupSCAD", dim=1)),
    "HoldPeak": pruning(rewind=a("l1prune.HoldPeak")),
    "Join": pruning(strength=a("l1prune.Join", schedules=[CONSTANT] * 2, boundaries=[0.5])),
    "L1": pruning(penalty=a("l1prune.L1")),
    "L1Pruning": pruning(),
    "L2": pruning(penalty=a("l1prune.L2")),
    "LAMP": scoped("l1prune.LAMP"),
    "LastCheckpoint": a("l1prune.LastCheckpoint", folder="run", every_n_steps=50),
    "Linear": pruning(strength=a("l1prune.Linear", start=0.0, end=1e-4)),
    "LogSum": pruning(penalty=a("l1prune.LogSum")),
    "MCP": pruning(penalty=a("l1prune.MCP")),
    "Magnitude": pruning(threshold=a("l1prune.Magnitude", cut=0.01)),
    "OptimizerMetric": pruning(form=a("l1prune.Proximal", metric=a("l1prune.OptimizerMetric"))),
    "PathCheckpoint": a("l1prune.PathCheckpoint", folder="run", monitor="val/loss"),
    "PerLayer": scoped("l1prune.PerLayer"),
    "PerOutput": scoped("l1prune.PerOutput"),
    "Proximal": pruning(form=a("l1prune.Proximal")),
    "Refit": pruning(criterion=a("l1prune.Refit", criterion=a("l1prune.Wanda"))),
    "Relative": scoped("l1prune.Relative"),
    "RunRecord": a("l1prune.RunRecord", folder="run", monitor="val/loss"),
    "Saliency": pruning(criterion=a("l1prune.Saliency", least=0.2)),
    "SCAD": pruning(penalty=a("l1prune.SCAD")),
    "SemiStructured": pruning(threshold=a("l1prune.SemiStructured", n=2, m=4)),
    "Size": pruning(criterion=a("l1prune.Size")),
    "Sparsity": pruning(threshold=a("l1prune.Sparsity", sparsity=0.9)),
    "SparsityPath": pruning(threshold=a("l1prune.SparsityPath", sparsities=[0.5, 0.9])),
    "StepSeed": a("l1prune.StepSeed", seed=3),
    "Subgradient": pruning(form=a("l1prune.Subgradient")),
    "TransformedL1": pruning(penalty=a("l1prune.TransformedL1")),
    "Wanda": pruning(criterion=a("l1prune.Wanda")),
    "WarmupHoldDecay": pruning(strength=a("l1prune.WarmupHoldDecay", peak=1e-4)),
    "once": pruning(prune_at=a("l1prune.once", at=0.5)),
    "rounds": pruning(prune_at=a("l1prune.rounds", start=0.1, stop=0.5, count=10)),
}
"""A configuration for each public object that one can name in the list of a trainer's callbacks."""

NO_CASE = {
    # protocols, of which a configuration names something that keeps them
    *("Criterion", "Form", "Metric", "Penalty", "Plan", "Schedule", "Scope", "Threshold"),
    # what a run gives, and what is called without a trainer
    *("Cut", "Pressure", "SparseExecution", "SparsityReport", "find_targets", "last_checkpoint"),
    "sparse",
    # of loops without a trainer, and of a network that has been pruned
    *("Pruning", "PruningRun", "push_to_hub", "PruningWarning"),
    # of a data module
    *("ResumableLoader", "Shuffle"),
    # in the place of a trainer
    *("L1FeatureSelector", "L1NetClassifier", "L1NetRegressor"),
    "__version__",
}


def names_in(value: Any) -> set[str]:
    """The objects that a configuration names, at any depth."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    path = value.get("class_path", "").removeprefix("l1prune.")
    return {path}.union(*map(names_in, value.values()))


def test_each_public_object_has_its_case() -> None:
    """Whoever adds one says here how a configuration names it, or why none does."""
    assert CASES.keys() | NO_CASE == {*l1prune.__all__} and not CASES.keys() & NO_CASE
    assert all(name in names_in(case) for name, case in CASES.items())


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    made = LightningArgumentParser()
    made.add_argument("--callbacks", type=list[L.Callback])
    return made


@pytest.mark.parametrize("name", CASES)
def test_every_public_object_is_made_from_yaml_and_what_is_saved_says_the_same(
    name: str, parser: LightningArgumentParser
) -> None:
    written = yaml.safe_dump({"callbacks": [CASES[name]]})
    config = parser.parse_string(written)
    (callback,) = parser.instantiate_classes(config).callbacks
    saved = parser.dump(config, skip_none=False)
    (again,) = parser.instantiate_classes(parser.parse_string(saved)).callbacks
    assert type(again) is type(callback)
    if isinstance(callback, L1Pruning):
        assert callback.recipe.words == again.recipe.words
        default = callback.recipe.words == L1Pruning().recipe.words
        assert default == (name in {"L1", "L1Pruning"})
    assert parser.dump(parser.parse_string(saved), skip_none=False) == saved


def test_the_file_that_a_run_saves_is_that_of_the_same_run(tmp_path: Path) -> None:
    """Through the whole of LightningCLI: `fit --config`, with its SaveConfigCallback."""
    budget = pruning(threshold=CASES["SparsityPath"]["init_args"]["threshold"])
    budget["init_args"]["prune_at"] = a("l1prune.rounds", start=0.1, stop=0.5, count=3)
    options = {"max_epochs": 8, "accelerator": "cpu", "logger": False, "limit_train_batches": 4}
    options |= {"enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "default_root_dir": str(tmp_path)}
    trainer = options | {"callbacks": [budget]}
    first = tmp_path / "first.yaml"
    first.write_text(yaml.safe_dump({"trainer": trainer, "seed_everything": 0}))
    reports = []
    for config in (first, tmp_path / "config.yaml"):
        cli = LightningCLI(
            BoringModel,
            BoringDataModule,
            args=["fit", "--config", str(config)],
            save_config_kwargs={"overwrite": True},
        )
        (callback,) = [one for one in cli.trainer.callbacks if isinstance(one, L1Pruning)]
        reports.append(callback.report)
    assert reports[0] is not None and reports[0] == reports[1]
    assert reports[0].sparsity == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("arguments", [{}, {"threshold": 0.01}, {"prune_at": 0.4, "rewind": 0.2}])
def test_finetuning_takes_the_arguments_of_pruning(
    parser: LightningArgumentParser, arguments: dict[str, Any]
) -> None:
    given = a("l1prune.L1Pruning.finetune", **arguments)
    written = yaml.safe_dump({"callbacks": [given]})
    (callback,) = parser.instantiate_classes(parser.parse_string(written)).callbacks
    assert callback.recipe.words == L1Pruning.finetune(**arguments).recipe.words


def test_finetuning_takes_objects_too(parser: LightningArgumentParser) -> None:
    given = a("l1prune.L1Pruning.finetune", threshold=a("l1prune.Sparsity", sparsity=0.9))
    written = yaml.safe_dump({"callbacks": [given]})
    (callback,) = parser.instantiate_classes(parser.parse_string(written)).callbacks
    assert callback.recipe.threshold == Sparsity(0.9)
