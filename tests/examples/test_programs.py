"""The examples: complete programs, run here as their users run them, but small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES = 120


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_each_is_short_enough_to_be_read(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < LINES


def test_images(example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    options = ["--epochs", "3", "--limit", "128", "--sparsity", "0.9", "--folder", str(tmp_path)]
    report = example("images").main(options)
    assert report.sparsity == pytest.approx(0.9, abs=1e-4)
    assert list(tmp_path.glob("best*.ckpt"))


def test_bert(example: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("transformers", reason="needs transformers")
    caplog.set_level("INFO", logger="lightning.pytorch")  # whatever other tests have silenced
    report = example("bert").main(["--epochs", "2", "--limit", "128"])
    assert report.sparsity == pytest.approx(0.9, abs=1e-4)
    assert report.total > report.prunable, "embeddings are left alone"
    assert f"{report.total:,}" in caplog.text


def test_a_bert_that_is_pruned_as_it_learns(example: Callable[[str], ModuleType]) -> None:
    report = example("bert").main(["--fresh", "--epochs", "2", "--limit", "128", "--seed", "1"])
    assert report.sparsity == pytest.approx(0.9, abs=1e-4)


def test_bert_s_sentences_can_be_told_apart(example: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("transformers", reason="needs transformers")
    ids, labels = example("bert").examples(200, None).tensors
    said: dict[tuple[int, ...], int] = {}
    for row, label in zip(ids.tolist(), labels.tolist()):
        assert said.setdefault(tuple(row), label) == label
    assert 0.3 < labels.float().mean() < 0.7


def test_regression(example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    program = example("regression")
    options = ["--epochs", "14", "--limit", "400", "--allow", "0.3", "--folder", str(tmp_path)]
    report = program.main(options)
    assert report.sparsity >= 0.75, "the first round is within so large a budget"
    fresh = program.Regression()
    fresh.network.load_state_dict(load_file(tmp_path / "model.safetensors"))
    left = sum(int(layer.weight.count_nonzero()) for layer in fresh.network[::2])
    assert left == report.nonzero


def test_lightning_cli(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jsonargparse", reason="needs the extra cli")
    monkeypatch.setattr("sys.argv", ["lightning_cli.py"])
    small = ["--trainer.max_epochs=3", "--data.limit=256", "--trainer.enable_progress_bar=false"]
    config = str(EXAMPLES / "lightning_cli.yaml")
    cli = example("lightning_cli").main(["fit", "--config", config, *small])
    hidden, last = cli.model.layers[2].weight, cli.model.layers[4].weight
    assert (hidden == 0).float().mean() > 0.8
    assert last.count_nonzero() == last.numel()


def test_a_network_of_a_library_from_a_file(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    program = example("pretrained")
    try:
        trained = program.build("resnet18")
    except SystemExit:
        pytest.skip("neither torchvision nor timm imports beside this torch")
    state = trained.state_dict()
    save_file(
        {name: w for name, w in state.items() if "fc" not in name}, tmp_path / "w.safetensors"
    )
    options = ["--weights", str(tmp_path / "w.safetensors"), "--epochs", "2", "--limit", "100"]
    report = program.main([*options, "--size", "32"])
    assert report.sparsity == pytest.approx(0.9, abs=1e-4)
    pruned = load_file(tmp_path / "pruned.safetensors")
    assert pruned.keys() == state.keys()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_other_shapes_are_left_out_and_named(
    example: Callable[[str], ModuleType], tmp_path: Path, suffix: str
) -> None:
    program, file = example("pretrained"), tmp_path / f"w{suffix}"
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 10))
    state = {**network.state_dict(), "1.weight": torch.ones(1000, 4)}
    state["0.weight"] = torch.ones(4, 3)
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    assert program.load(network, file) == ["1.weight"]
    assert (network[0].weight == 1).all()
