"""The guide to a model of one's own, followed word by word: from its files to a page of runs."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import ROOT, blocks
from safetensors.torch import load_file

GUIDE = "own-model.md"
SMALL = ["trainer.max_epochs=6", "logger=none", "hydra.run.dir=outputs/pruned"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the guide stand, and a run that its first command has left."""
    folder = tmp_path_factory.mktemp("own")
    (program,) = [one.text for one in blocks("python") if one.page == GUIDE]
    (folder / "rings.py").write_text(program, encoding="utf-8")
    for block in blocks("yaml"):
        if block.page == GUIDE:
            (name,) = re.findall(r"`(conf/[\w/]+\.yaml)` is", block.before)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block.text, encoding="utf-8")
    first = next(one for one in blocks("sh") if one.page == GUIDE).text.splitlines()[0]
    assert called(folder, *first.split()[1:], *SMALL).returncode == 0
    return folder


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `l1prune`, in a folder, as the installed package has it."""
    program = "import sys; from l1prune.commands.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    print(done.stdout, done.stderr)
    return done


def test_a_run_is_judged_by_the_metric_that_was_named(folder: Path) -> None:
    summary = json.loads((folder / "outputs/pruned/summary.json").read_text())
    assert (summary["monitor"], summary["mode"]) == ("val/mse", "min")
    assert summary["params/sparsity"] == pytest.approx(0.95, abs=1e-3)
    assert {"val/mse", "test/mse"} <= summary.keys()


def test_it_is_compared_in_its_own_unit(folder: Path) -> None:
    done = called(folder, "compare", "outputs/", "--format", "md")
    assert done.returncode == 0
    assert "test mse" in done.stdout and "%" not in done.stdout


def test_its_weights_load_into_the_plain_module(folder: Path) -> None:
    module = runpy.run_path(str(folder / "rings.py"))["Rings"]()
    assert module.network.load_state_dict(load_file(folder / "outputs/pruned/model.safetensors"))
    summary = json.loads((folder / "outputs/pruned/summary.json").read_text())
    left = sum(int(layer.weight.count_nonzero()) for layer in module.network[::2])
    assert left == summary["params/nonzero"]
