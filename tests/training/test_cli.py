"""The callback from a LightningCLI configuration: `class_path: l1prune.L1Pruning`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

import l1prune
from l1prune import L1, ElasticNet, Global, L1Pruning, OptimizerMetric, Proximal
from l1prune.pressure.schedules import Linear


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
    assert callback.recipe.prune_at == L1Pruning(prune_at=prune_at).recipe.prune_at
    assert callback.recipe.threshold == l1prune.Magnitude(0.01)
    assert (callback.recipe.penalty, callback.recipe.form) == (L1(), None)


SOCKETS = {
    "threshold": [
        a("l1prune.Magnitude", cut=0.01),
        a("l1prune.Sparsity", sparsity=0.9, scope=a("l1prune.PerLayer")),
        a("l1prune.SemiStructured", n=2, m=4),
        a("l1prune.SparsityPath", sparsities=[0.5, 0.9]),
        a("l1prune.Budget", monitor="val/accuracy", max_drop=0.01),
    ],
    "criterion": [a("l1prune.Size"), a("l1prune.Saliency", least=0.2), a("l1prune.Wanda")],
    "form": [a("l1prune.Proximal"), a("l1prune.Subgradient")],
    "strength": [a("l1prune.ByPasses", passes=5.0), a("l1prune.Follow", slack=0.1)],
    "penalty": [a("l1prune.GroupL1", dim=1), a("l1prune.LogSum"), a("l1prune.MCP")],
}


@pytest.mark.parametrize(
    ("socket", "given"),
    [
        pytest.param(socket, one, id=f"{socket}-{one['class_path']}")
        for socket, several in SOCKETS.items()
        for one in several
    ],
)
def test_every_socket_takes_its_objects(tmp_path: Path, socket: str, given: dict[str, Any]) -> None:
    cli, callback = configured(tmp_path, {socket: given})
    assert type(getattr(callback.recipe, socket)).__name__ == given["class_path"].split(".")[-1]
    saved = cli.parser.dump(cli.config, skip_none=False)
    assert cli.parser.parse_string(saved).trainer.callbacks == cli.config.trainer.callbacks
