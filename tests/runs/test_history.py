"""Every epoch is a line, with what was logged last in it; a resumed run goes on, not anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from l1prune.runs.history import History
from l1prune.runs.points import read_history
from l1prune.training.resume.last import LastCheckpoint


class Counting(L.LightningModule):
    """Logs numbers that say which epoch they are of, early in an epoch and late."""

    def __init__(self, stop_in: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.stop_in = stop_in

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        if self.current_epoch == self.stop_in:
            raise RuntimeError("stopped")
        return (self.weight - batch).square().mean()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("val/early", float(self.current_epoch))

    def on_train_epoch_end(self) -> None:
        self.log("train/late", 10.0 * self.current_epoch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, epochs: int, stop_in: int | None = None, resume: Path | None = None) -> None:
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[History(folder), LastCheckpoint(folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    data = DataLoader(torch.ones(4, 1), 2)
    trainer.fit(Counting(stop_in), data, data, ckpt_path=resume)


def expected(epochs: int) -> dict[str, list[float]]:
    numbers = [float(epoch) for epoch in range(epochs)]
    return {"epoch": numbers, "train/late": [10 * n for n in numbers], "val/early": numbers}


def test_every_epoch_has_a_line_with_what_was_logged_in_it(tmp_path: Path) -> None:
    fit(tmp_path, 3)
    assert read_history(tmp_path / "history.csv") == expected(3)
    assert not list(tmp_path.glob("*.part"))


def test_a_resumed_run_goes_on_and_a_new_one_begins_anew(tmp_path: Path) -> None:
    fit(tmp_path, 2)
    (tmp_path / "last.ckpt").rename(tmp_path / "two.ckpt")
    # It got as far as epoch 3, of which there is no checkpoint.
    with pytest.raises(RuntimeError, match="stopped"):
        fit(tmp_path, 5, stop_in=4, resume=tmp_path / "two.ckpt")
    assert read_history(tmp_path / "history.csv") == expected(4)
    fit(tmp_path, 3, resume=tmp_path / "two.ckpt")
    assert read_history(tmp_path / "history.csv") == expected(3)
    fit(tmp_path, 1)
    assert read_history(tmp_path / "history.csv") == expected(1)


@pytest.mark.parametrize("epochs", [2, 4])
@pytest.mark.parametrize("size", [None, 0, 9, 31])
def test_a_file_that_was_cut_off_is_made_anew(
    tmp_path: Path, size: int | None, epochs: int
) -> None:
    fit(tmp_path, 2)
    file = tmp_path / "history.csv"
    file.unlink() if size is None else file.write_bytes(file.read_bytes()[:size])
    fit(tmp_path, epochs, resume=tmp_path / "last.ckpt")
    assert read_history(file) == expected(epochs)
