"""Weights from a file are the module's, whatever the file; those of another module are refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from l1prune.deploy.storage import save_sparse
from l1prune.runs.pretrained import load_pretrained_
from l1prune.zoo import Classifier, mlp


def network(hidden: int = 8) -> nn.Module:
    return mlp((1, 8, 8), 10, hidden=(hidden,))


def module(hidden: int = 8) -> Classifier:
    return Classifier(network(hidden), 10, partial(torch.optim.SGD, lr=0.1))


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())


def as_checkpoint(model: L.LightningModule, file: Path) -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(file)


WRITERS = {
    "model.safetensors": lambda m, f: save_file(m.network.state_dict(), f),
    "sparse.safetensors": lambda m, f: save_sparse(m.network, f),
    "with.safetensors": lambda m, f: save_file(m.state_dict(), f),
    "state.pt": lambda m, f: torch.save(m.network.state_dict(), f),
    "best.ckpt": as_checkpoint,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("whole", [True, False], ids=["module", "network"])
def test_every_file_fills_module_and_network(name: str, whole: bool, tmp_path: Path) -> None:
    trained = module()
    WRITERS[name](trained, tmp_path / name)
    fresh: Any = module()
    load_pretrained_(fresh if whole else fresh.network, tmp_path / name)
    assert same(fresh, trained) if whole else same(fresh.network, trained.network)


def test_weights_of_another_module_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(network(9).state_dict(), file)
    with pytest.raises(ValueError, match=r"shapes differ: .*1\.bias is 9 there and 8 here"):
        load_pretrained_(network(), file)
    save_file({"0.weight": torch.ones(2), "1.bias": torch.ones(8)}, file)
    with pytest.raises(ValueError, match=r"it lacks 1\.weight, 3\.bias.*; the module has no 0\.w"):
        load_pretrained_(network(), file)


def test_the_module_stays_as_it_is_where_the_weights_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"1.bias": torch.full((8,), 7.0)}, file)
    model = network()
    with pytest.raises(ValueError, match="it lacks"):
        load_pretrained_(model, file)
    assert not (model.state_dict()["1.bias"] == 7).any()


class Payload:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("hurt"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Payload(), "neither safetensors nor a checkpoint"),
        ([1, 2], "no weights by name"),
        ({"state_dict": {"a": 1}}, "no weights by name"),
    ],
)
def test_what_holds_no_weights_is_refused_and_not_run(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message):
        load_pretrained_(network(), tmp_path / "a.pt")
    assert not (tmp_path / "hurt").exists()


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt: no such file"):
        load_pretrained_(network(), tmp_path / "nowhere.pt")
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"half")
        with pytest.raises(ValueError, match=r"a\.(pt|safetensors)"):
            load_pretrained_(network(), tmp_path / name)
