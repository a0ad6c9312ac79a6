"""Checkpoints: what cannot be resumed from is refused in one sentence, before the first step."""

from __future__ import annotations

import gzip
import os
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
from tasks import Task, examples, fit, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import ElasticNet, L1Pruning, LastCheckpoint, Sparsity, Subgradient, once
from l1prune.training.run import saved_fields

EPOCHS = 6

# A run is often resumed here without the callback that saved its checkpoint.
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")


class Random(Task):
    """Shuffled data, dropout and BatchNorm: all that draws random numbers or keeps statistics."""

    def __init__(self, width: int = 16, depth: int = 1, early: bool = False) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU()]
        layers += [nn.Sequential(nn.Linear(width, width), nn.Dropout(0.3)) for _ in range(depth)]
        net = nn.Sequential(*layers, nn.Linear(width, 1))
        super().__init__(net, partial(torch.optim.Adam, lr=0.01), examples(40, 8, 1))
        self.early = early

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(4, 8), torch.ones(4, 1)), 2)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        # Estimating makes the loaders, before their states and that of the generators are there.
        steps = int(self.trainer.estimated_stepping_batches) if self.early else 24
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)]


def pruning(**options: Any) -> L1Pruning:
    return L1Pruning(**({"threshold": Sparsity(0.8), "prune_at": once(0.5)} | options))


def every_epoch(folder: Path, **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after the first of six epochs, whole and as weights alone."""
    folder = tmp_path_factory.mktemp("saved")
    run = fit(Random(), pruning(), every_epoch(folder), epochs=EPOCHS, limit_val_batches=0)
    run.save_checkpoint(folder / "weights.ckpt", weights_only=True)
    return folder


# ---- any epoch's end


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("on_train_epoch_end", [True, False])
def test_stock_loaders_dropout_and_batchnorm_go_on_from_any_epoch_end(
    tmp_path: Path, on_train_epoch_end: bool, early: bool
) -> None:
    def callbacks() -> list[L.Callback]:
        return [pruning(), every_epoch(tmp_path, save_on_train_epoch_end=on_train_epoch_end)]

    whole = Random(early=early)
    fit(whole, *callbacks(), epochs=EPOCHS)
    for epoch in range(5):
        resumed = Random(early=early)
        torch.manual_seed(99 + epoch)  # another process, another state
        fit(resumed, *callbacks(), resume=tmp_path / f"{epoch=}.ckpt", epochs=EPOCHS)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()):
            assert torch.equal(a, b), epoch


def test_a_run_that_had_ended_is_what_it_was(saved: Path, tmp_path: Path) -> None:
    callback, task = pruning(), Random()
    run = fit(task, callback, resume=saved / "epoch=5.ckpt", epochs=EPOCHS)
    run.save_checkpoint(tmp_path / "again.ckpt")
    assert not task.losses and callback.report is not None and callback.report.sparsity == 0.8
    before, after = (
        torch.load(path, weights_only=True)["callbacks"]["L1Pruning"]["masks"]
        for path in (saved / "epoch=5.ckpt", tmp_path / "again.ckpt")
    )
    assert before.keys() == after.keys() == callback.masks.keys() != set()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---- the same run, or none


def test_more_epochs_are_welcome(saved: Path) -> None:
    callback, task = pruning(), Random()
    fit(task, callback, resume=saved / "epoch=5.ckpt", epochs=9)
    assert callback.report is not None and callback.report.sparsity >= 0.8
    assert len(task.losses) == 3 * 4


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"threshold": Sparsity(0.9)}, r"threshold=Sparsity\(sparsity=0.8.*=0.9"),
        ({"threshold": 0.1}, r"threshold=Sparsity.*threshold=Magnitude"),
        ({"prune_at": [0.3, 0.5]}, r"prune_at=\(0.5,\).*prune_at=\(0.3, 0.5\)"),
        ({"penalty": ElasticNet()}, r"penalty=L1\(.*penalty=ElasticNet"),
        ({"strength": 0.1}, r"strength=ByPasses.*strength=0.1"),
        ({"form": Subgradient()}, r"form=None.*form=Subgradient"),
        ({"targets": ["net.0"]}, r"targets=None.*targets=.*net\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_arguments_than_the_run_began_with_are_refused(
    saved: Path, other: dict[str, Any], says: str
) -> None:
    task = Random()
    with pytest.raises(ValueError, match=says):
        fit(task, pruning(**other), resume=saved / "epoch=1.ckpt", epochs=EPOCHS)
    assert not task.losses


def test_a_test_from_a_checkpoint_leaves_the_outcome_alone(saved: Path) -> None:
    callback, task = pruning(), Random()
    run = fit(task, callback, epochs=EPOCHS)
    report = callback.report
    run.validate(task, ckpt_path=saved / "epoch=1.ckpt", verbose=False)
    assert callback.report is report is not None
    assert callback.phase == "tune"


# ---- files that are no use


def damaged(data: bytes, how: str) -> bytes:
    middle = len(data) // 2
    return {
        "empty": b"",
        "text": b"epoch: 3\n",
        "zeros": bytes(len(data)),
        "truncated": data[:middle],
        "a byte short": data[:-1],
        "a flipped bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "a hole": data[:middle] + bytes(512) + data[middle + 512 :],
    }[how]


@pytest.mark.parametrize(
    "how", ["empty", "text", "zeros", "truncated", "a byte short", "a flipped bit", "a hole"]
)
def test_a_broken_file_is_refused_by_name(saved: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "broken.ckpt"
    file.write_bytes(damaged((saved / "epoch=1.ckpt").read_bytes(), how))
    refused(file, Random(), r"broken\.ckpt: (not a whole checkpoint|damaged)")


@pytest.mark.parametrize(
    "content",
    [{"weights": torch.ones(3)}, [1, 2], torch.ones(3), {"state_dict": {}}, "a text"],
    ids=lambda content: type(content).__name__,
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    refused(tmp_path / "other.ckpt", Random(), "not a checkpoint of Lightning")


def test_weights_alone_are_refused_with_what_is_missing(saved: Path) -> None:
    missing = "not callbacks, optimizer_states .*phase nor masks.*load_state_dict"
    refused(saved / "weights.ckpt", Random(), missing)


def test_another_model_is_refused_by_its_first_difference(saved: Path) -> None:
    file = saved / "epoch=1.ckpt"
    refused(file, Random(width=12), r"net\.0\.weight has the shape \(16, 8\) there, and \(12, 8\)")
    refused(
        file, Random(depth=2), r"parameters of this one are not in it, such as net\.4\.0\.weight"
    )


def test_masks_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(saved / "epoch=3.ckpt", weights_only=True)
    checkpoint["callbacks"]["L1Pruning"]["masks"]["net.0.weight"] = torch.ones(3).byte()
    torch.save(checkpoint, tmp_path / "foreign.ckpt")
    refused(tmp_path / "foreign.ckpt", Random(), "mask of .* another model")


def test_what_another_callback_of_this_name_left_is_refused(saved: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(saved / "epoch=1.ckpt", weights_only=True)
    checkpoint["callbacks"]["L1Pruning"] = {"pruned": True}
    torch.save(checkpoint, tmp_path / "foreign.ckpt")
    refused(tmp_path / "foreign.ckpt", Random(), "state of another L1Pruning")


# ---- files from strangers, and in forms of the user's own


class Trap:
    """An object whose pickle runs code as it is loaded."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"__import__('pathlib').Path({str(self.sprung)!r}).touch()",)


class Gzipped(TorchCheckpointIO):
    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        with gzip.open(path, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> Any:
        with gzip.open(path) as file:
            return torch.load(file, weights_only=False)  # as Lightning before 2.6 did


class Legacy(TorchCheckpointIO):
    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=False)


class Trusting(TorchCheckpointIO):
    def load_checkpoint(self, path: Any, map_location: Any = None) -> Any:  # type: ignore[override]
        return torch.load(path, map_location, weights_only=False)


FORMS = [TorchCheckpointIO, Gzipped, Legacy, Trusting]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> CheckpointIO:
    io: CheckpointIO = request.param()
    return io


def taking_up(dense: bool, folder: Path, form: CheckpointIO) -> L.Trainer:
    callback = LastCheckpoint(folder) if dense else pruning()
    return trainer(callback, plugins=[form], enable_checkpointing=dense)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("hidden", ["callbacks", "state_dict", "hyper_parameters", "anywhere"])
def test_no_code_in_a_checkpoint_is_run(
    saved: Path, tmp_path: Path, form: CheckpointIO, dense: bool, hidden: str
) -> None:
    checkpoint = torch.load(saved / "epoch=1.ckpt", weights_only=True)
    checkpoint.setdefault(hidden, {})["trap"] = Trap(tmp_path / "sprung")
    form.save_checkpoint(checkpoint, tmp_path / "trap.ckpt")
    task = Random()
    with pytest.raises(ValueError, match=r"holds .*exec, which is neither a tensor nor") as refused:
        taking_up(dense, tmp_path, form).fit(task, ckpt_path=tmp_path / "trap.ckpt")
    assert len(task.losses) == 0 and not (tmp_path / "sprung").exists()
    assert "\n" not in str(refused.value) and "weights_only=False" not in str(refused.value)
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_who_trusts_a_checkpoint_says_so(saved: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(saved / "epoch=1.ckpt", weights_only=True)
    checkpoint["hyper_parameters"] = {"trap": Trap(tmp_path / "sprung")}
    torch.save(checkpoint, tmp_path / "trap.ckpt")
    task = Random()
    trainer(pruning()).fit(task, ckpt_path=tmp_path / "trap.ckpt", weights_only=False)
    assert len(task.losses) and (tmp_path / "sprung").exists()


def test_a_run_resumes_from_files_in_a_form_of_its_own(tmp_path: Path, form: CheckpointIO) -> None:
    begun = trainer(pruning(), epochs=3, plugins=[form])
    begun.fit(Random())
    begun.save_checkpoint(tmp_path / "own.ckpt")
    task, callback = Random(), pruning()
    trainer(callback, plugins=[form], epochs=6).fit(task, ckpt_path=tmp_path / "own.ckpt")
    assert len(task.losses) == 3 * 4 and callback.phase == "tune"


@pytest.mark.parametrize("how", ["empty", "text", "zeros", "truncated"])
def test_a_broken_file_in_such_a_form_is_refused(
    saved: Path, tmp_path: Path, form: CheckpointIO, how: str
) -> None:
    checkpoint = torch.load(saved / "epoch=1.ckpt", weights_only=True)
    form.save_checkpoint(checkpoint, tmp_path / "own.ckpt")
    (tmp_path / "own.ckpt").write_bytes(damaged((tmp_path / "own.ckpt").read_bytes(), how))
    task = Random()
    with pytest.raises(ValueError, match=r"own\.ckpt: (not a whole checkpoint|damaged)") as refused:
        taking_up(False, tmp_path, form).fit(task, ckpt_path=tmp_path / "own.ckpt")
    assert len(task.losses) == 0 and "\n" not in str(refused.value)


def test_what_a_checkpoint_must_hold_is_what_is_saved() -> None:
    assert pruning().state_dict().keys() == {"arguments", *saved_fields()}


def refused(file: Path, task: Random, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        fit(task, pruning(), resume=file, epochs=EPOCHS)
    assert not task.losses
    assert "\n" not in str(caught.value)
