"""The command: every file is what the run was, measured again; what is no run is refused."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from safetensors.torch import load_file, save_file
from torch import nn

from l1prune.commands import deploy
from l1prune.deploy import load_compact, load_sparse, variants
from l1prune.deploy.latency import Latency
from l1prune.runs.points import read_point
from l1prune.zoo import Digits, mlp

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra deploy")

DENSE_SIZE = 64 * 40 + 40 + 40 * 10 + 10
FILES = [
    *("compact-exact.safetensors", "compact-half.safetensors", "compact-int8.safetensors"),
    *("compact.onnx", "compact.pt2", "compact.safetensors"),
    *("deploy.json", "deploy.png", "trained.onnx"),
]


def leave_run(run: Path) -> Path:
    """A run whose network knows some digits by their prototypes, with 30 of 40 neurons dead."""
    run.mkdir()
    data = Digits()
    data.setup("test")
    assert data.train is not None
    images, labels = data.train.inputs.flatten(1), data.train.labels
    network = mlp((1, 8, 8), 10, [40])
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        for digit in range(10):
            network[1].weight[digit] = images[labels == digit].mean(0) / 8
            network[1].bias[digit] = -1.0
            network[3].weight[digit, digit] = 1.0
    save_file(network.state_dict(), run / "model.safetensors")
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True}
    net = {"_target_": "l1prune.zoo.mlp", "shape": [1, 8, 8], "classes": 10, "hidden": [40]}
    model = {"_target_": "l1prune.zoo.Classifier", "classes": 10}
    config = {
        "data": {"_target_": "l1prune.zoo.Digits"},
        "model": {**model, "network": net, "optimizer": optimizer},
        "prune": "by hand",
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    summary = {"test/accuracy": 0.5, "params/nonzero": 650, "params/prunable": 2960}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was deployed, and what the screen shows."""
    run = leave_run(tmp_path_factory.mktemp("runs") / "run")
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(variants, "latencies", lambda calls: dict.fromkeys(calls, Latency(1e-3, 2.0)))
        patch.setattr(deploy, "show", lambda text, *_: said.append(text))
        threads = torch.get_num_threads()
        assert deploy.main([str(run)]) == 0, said
        torch.set_num_threads(threads)
    return run, "\n".join(said)


def table(run: Path) -> dict[str, dict[str, Any]]:
    tree = json.loads((run / "deploy" / "deploy.json").read_text(encoding="utf-8"))
    return {one["name"]: one for one in tree["variants"]}


def test_everything_is_there_and_nothing_of_the_run_is_touched(deployed: tuple[Path, str]) -> None:
    run, said = deployed
    assert sorted(file.name for file in (run / "deploy").iterdir()) == FILES
    left = {"config.yaml", "deploy", "model.safetensors", "summary.json"}
    assert {file.name for file in run.iterdir()} == left
    forms = [*table(run)]
    names = [line.split("  ")[0] for line in said.splitlines()[3:]]
    assert names[: len(forms)] == forms and "left out" not in said


def test_the_benchmark_judges_a_run_by_what_it_gets_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    monkeypatch.setattr(variants, "latencies", lambda calls: dict.fromkeys(calls, Latency(1e-3, 2)))
    deployed = importlib.import_module("benchmarks.deployed")
    asked = deployed.Trained("run", "", ((deployed.COMPACT, "parameters", 3.0),))
    monkeypatch.setattr(deployed, "RUNS", (asked,))
    leave_run(tmp_path / "run")
    rows = {row.work: row for row in deployed.trained_runs(tmp_path)}
    assert rows["run, compact: parameters"].verdict == "ok"
    assert rows["run, compact: difference of test/accuracy"].measured == 0
    assert rows["run, compact: relative difference in float64"].verdict == "ok"


def test_each_file_is_as_large_and_as_good_as_it_says(deployed: tuple[Path, str]) -> None:
    run, _ = deployed
    forms = table(run)
    data = Digits()
    data.setup("test")
    assert data.test is not None
    images, labels = data.test.inputs, data.test.labels

    def accuracy(network: Any) -> float:
        with torch.no_grad():
            return float((network(images).argmax(1) == labels).double().mean())

    def filled(state: dict[str, torch.Tensor]) -> nn.Module:
        return load_compact(mlp((1, 8, 8), 10, [40]), state)

    small = filled(load_file(run / "deploy" / "compact.safetensors"))
    assert sum(w.numel() for w in small.parameters()) == 64 * 10 + 10 + 10 * 10 + 10
    found = {
        "trained": accuracy(filled(load_file(run / "model.safetensors"))),
        "compact": accuracy(small),
        "compact, int8": accuracy(filled(load_sparse(run / "deploy" / "compact-int8.safetensors"))),
        "compact, torch.export": accuracy(torch.export.load(run / "deploy/compact.pt2").module()),
    }
    assert 0.6 < found["trained"] < 1
    for name, expected in found.items():
        assert forms[name]["figures"]["test/accuracy"] == pytest.approx(expected, abs=1e-6)
    for name, one in forms.items():
        file = run / "model.safetensors" if name == "trained" else run / "deploy" / one["file"]
        assert one["nbytes"] == file.stat().st_size


def test_figures_are_those_of_the_network_in_the_file(deployed: tuple[Path, str]) -> None:
    forms = table(deployed[0])
    whole = ("trained", "trained, onnxruntime")
    assert {forms[name]["parameters"] for name in whole} == {DENSE_SIZE}
    for name, one in forms.items():
        if name.startswith("compact"):
            assert (one["parameters"], one["macs"]) == (64 * 10 + 10 + 10 * 10 + 10, 740)
        assert one["relative"] < {"compact, int8": 0.05, "compact, float16": 2e-3}.get(name, 1e-6)
        assert [*one["latency"]] == ["1", "16", "64"]
    assert forms["trained"]["absolute"] == 0 < forms["compact, float16"]["absolute"]


def test_the_page_of_runs_knows_what_it_costs(deployed: tuple[Path, str]) -> None:
    costs = read_point(deployed[0]).costs
    least = min(one["nbytes"] for one in table(deployed[0]).values())
    assert (costs["deploy/bytes"], costs["deploy/macs"]) == (least, 740)
    assert costs["deploy/latency_64"] == 0.5


def test_without_the_extra_onnx_is_left_out_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(deploy, "FORMS", deploy.FORMS[:2] + deploy.FORMS[-1:])
    monkeypatch.setattr(
        variants, "latencies", lambda calls: dict.fromkeys(calls, Latency(1e-3, 2.0))
    )
    run = leave_run(tmp_path / "run")
    assert deploy.main([str(run), "--output", str(tmp_path / "elsewhere")]) == 0
    said = capsys.readouterr().out
    missing = "left out: trained, onnxruntime, compact, onnxruntime: onnxruntime is missing: pip"
    assert said.count("onnxruntime is missing") == said.count(missing) == 1
    assert sorted(file.name for file in (tmp_path / "elsewhere").iterdir()) == [
        *("compact-exact.safetensors", "compact.safetensors", "deploy.json", "deploy.png"),
    ]


def break_weights(run: Path) -> None:
    state = load_file(run / "model.safetensors")
    state["1.weight"][0, 0] = float("nan")
    save_file(state, run / "model.safetensors")


def configure(run: Path, **settings: Any) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, **settings}))


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda run: shutil.rmtree(run), "run: no such file or directory"),
        (lambda run: (run / "summary.json").unlink(), "a run that has not ended"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x" * 99), "model.safetensors"),
        (lambda run: save_file({"a": torch.ones(1)}, run / "model.safetensors"), "it lacks 1.bias"),
        (break_weights, "1.weight holds NaN or infinity: training diverged"),
        (lambda run: (run / "deploy").symlink_to(os.sep), "there is a link"),
        (lambda run: configure(run, model="???"), "config.yaml: Missing mandatory value: model"),
        (lambda run: configure(run, data={"_target_": "???"}), "mandatory value: data._target_"),
        (lambda run: configure(run, data={"_target_": "l1prune.L1"}), "names l1prune.L1, which"),
    ],
)
def test_what_cannot_be_deployed_is_one_sentence(
    harm: Any, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(leave_run(tmp_path / "run"))
    assert deploy.main([str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert (
        err.startswith(f"{Path(sys.argv[0]).name}: ") and complaint in err and err.count("\n") == 1
    )
    assert not (tmp_path / "run" / "deploy" / "deploy.json").exists()


class Untested(Digits):
    """Data without a test set, and without a validation set."""

    test_dataloader = L.LightningDataModule.test_dataloader
    val_dataloader = L.LightningDataModule.val_dataloader


def test_data_without_a_set_to_test_on_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = leave_run(tmp_path / "run")
    target = f"{Untested.__module__}.{Untested.__name__}"
    assert deploy.main([str(run), f"data._target_={target}"]) == 2
    err = capsys.readouterr().err
    assert "model.safetensors cannot be tested: " in err and "val_dataloader" in err
    assert err.count("\n") == 1 and not (run / "deploy").exists()


class Taught(L.LightningModule):
    """Logs what is no accuracy, and calls its network by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = nn.Linear(64, 10)

    def test_step(self, batch: Any, index: int) -> None:
        images, labels = batch
        answers = self.network(input=images.flatten(1))
        self.log("test/margin", answers.gather(1, labels[:, None]).mean())


def test_a_network_is_tested_by_its_own_module_whatever_runs_it() -> None:
    module = Taught()
    network = module.network
    tests = deploy.Tests(module, Digits(), network)
    before = tests(network)
    assert [*before] == ["test/margin"]
    twice = tests(lambda input: 2 * network(input))
    assert twice["test/margin"] == pytest.approx(2 * before["test/margin"], abs=1e-5)
