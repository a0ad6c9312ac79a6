"""The examples of other trainers: whole programs, run here as their users run them, but small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

Load = Callable[[str], ModuleType]


def zeros(state: Mapping[str, Tensor]) -> int:
    """In the weights of layers of 21,760 in all."""
    return sum(int((w == 0).sum()) for w in state.values() if w.ndim == 2)


def fell(losses: list[float]) -> bool:
    tenth = len(losses) // 10
    return sum(losses[-tenth:]) < 0.9 * sum(losses[:tenth])


def test_plain_loop(example: Load) -> None:
    options = ["--steps", "120", "--limit", "1280", "--sparsity", "0.9", "--folder", "."]
    report, losses = example("plain_loop").main(options)
    assert (report.prunable, report.nonzero, len(losses)) == (21_760, 2_176, 120)
    assert zeros(torch.load("pruned.pt")) == 19_584
    assert fell(losses)


def test_a_plain_loop_that_was_interrupted_goes_on_as_if_it_had_not_been(
    example: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = example("plain_loop")
    options = ["--steps", "50", "--limit", "640", "--folder"]
    program.main([*options, "whole"])
    save = torch.save

    def interrupted(state: Any, file: Path) -> None:
        save(state, file)
        if state["run"]["clock"]["steps"] == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", interrupted)
        program.main([*options, "part"])
    program.main([*options, "part", "--resume"])
    whole, again = (torch.load(f"{folder}/pruned.pt") for folder in ("whole", "part"))
    assert all(torch.equal(w, again[name]) for name, w in whole.items())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fabric(example: Load, precision: str) -> None:
    options = ["--epochs", "6", "--limit", "1280", "--sparsity", "0.9", "--folder", "."]
    report, losses = example("fabric").main([*options, "--precision", precision])
    assert report.nonzero == 2_176 and fell(losses)
    assert zeros(torch.load("last.ckpt", weights_only=False)["network"]) == 19_584


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate(example: Load, precision: str) -> None:
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    options = ["--epochs", "8", "--limit", "1280", "--sparsity", "0.9", "--folder", "."]
    report, losses = example("accelerate_loop").main([*options, "--precision", precision])
    assert report.nonzero == 2_176 and fell(losses)
    assert zeros(load_file("model.safetensors")) == 19_584


def test_huggingface_trainer(example: Load) -> None:
    pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="the Trainer of transformers needs accelerate")
    options = ["--steps", "60", "--sparsity", "0.8", "--folder", "."]
    pruning, trainer = example("huggingface_trainer").main(options)
    assert pruning.report.prunable == 39_264 and pruning.report.nonzero == 7_852
    saved = load_file("pruned/model.safetensors")
    layers = {layer.name for layer in pruning.report.layers}
    assert sum(int(saved[name].count_nonzero()) for name in layers) == 7_852
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
