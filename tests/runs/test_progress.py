"""A run says where it is: one line an epoch without a terminal, about twenty at most."""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from tasks import trainer

from l1prune import L1Pruning, LastCheckpoint, last_checkpoint
from l1prune.runs.monitor import Monitor
from l1prune.runs.progress import RunProgress
from l1prune.zoo import Classifier, Digits, mlp


def train(epochs: int, *callbacks: L.Callback, resume: Path | None = None, steps: int = -1) -> None:
    plan = {"limit_train_batches": 2, "num_sanity_val_steps": 0, "enable_progress_bar": True}
    model = Classifier(mlp((1, 8, 8), 10, hidden=(8,)), 10, partial(torch.optim.SGD, lr=0.01))
    fitting = trainer(*callbacks, epochs=epochs, max_steps=steps, **plan)
    fitting.fit(model, Digits(batch_size=100), ckpt_path=resume)


def lines(
    capsys: pytest.CaptureFixture[str], epochs: int, *callbacks: L.Callback, steps: int = -1
) -> list[str]:
    train(epochs, RunProgress(), *callbacks, steps=steps)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]


def test_each_line_has_phase_strength_and_sparsity(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = lines(capsys, 4, L1Pruning(strength=0.02))
    assert first.startswith("epoch 1/4  press  λ 2.0e-02  sparsity ")
    # 592 weights, 5 % of them are 29: 95.1 % are gone
    assert last.startswith("epoch 4/4  tune  sparsity 95.1 %  val/accuracy ")


def test_without_pressure_there_is_no_strength(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = lines(capsys, 4, L1Pruning(strength=0.0))
    assert first.startswith("epoch 1/4  cut  sparsity ")


def test_a_dense_run_has_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert all("val/accuracy" in line and "λ" not in line for line in lines(capsys, 2))


def test_another_metric_has_its_own_unit(capsys: pytest.CaptureFixture[str]) -> None:
    train(2, RunProgress(monitor=Monitor("val/loss", "min")))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert all(re.search(r"val/loss \d\.\d+$", line) for line in told) and told


def test_a_long_run_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    story = lines(capsys, 41)
    assert len(story) == 14
    assert story[-1].startswith("epoch 41/41")


def test_a_run_of_steps_has_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(capsys, -1, steps=5)
    assert [line.split("  ")[0] for line in told] == ["epoch 1", "epoch 2", "epoch 3"]


def test_a_run_that_goes_on_says_so_and_from_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(2, RunProgress(), LastCheckpoint(tmp_path))
    assert "goes on" not in capsys.readouterr().err
    train(3, RunProgress(), LastCheckpoint(tmp_path), resume=last_checkpoint(tmp_path))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("goes on")]
    assert told == [f"goes on from {tmp_path / 'last.ckpt'}: epoch 3/3, step 4"]


def drawn(**options: Any) -> str:
    """What a terminal gets to see of a run."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, **options)
    train(3, RunProgress(1, console), L1Pruning(strength=0.02, prune_at=0.5))
    screen: str = console.file.getvalue()  # type: ignore[attr-defined]
    return screen


def test_a_terminal_gets_one_bar_with_phase_strength_and_the_time_left() -> None:
    screen = drawn()
    assert "6/6" in screen
    assert "press  λ 2.0e-02" in screen and "tune  sparsity 95.1 %" in screen
    assert re.search(r"\d:\d\d:\d\d", screen)
    assert "epoch 1/3" not in screen


def test_colour_is_left_out_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile("\x1b\\[[0-9;]*3[0-9]")
    assert colour.search(drawn(color_system="standard"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(drawn(color_system="standard"))
