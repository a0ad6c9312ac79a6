"""A run says where it is: one line an epoch without a terminal, about twenty at most."""

from __future__ import annotations

from functools import partial

import lightning as L
import pytest
import torch

from l1prune import L1Pruning
from l1prune.zoo import Classifier, Digits, RunProgress, mlp


def lines(capsys: pytest.CaptureFixture[str], epochs: int, *callbacks: L.Callback) -> list[str]:
    L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[RunProgress(), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_train_batches=2,
    ).fit(
        Classifier(mlp((1, 8, 8), 10, hidden=(8,)), 10, partial(torch.optim.SGD, lr=0.01)),
        Digits(batch_size=100),
    )
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]


def test_each_line_has_phase_strength_and_sparsity(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = lines(capsys, 4, L1Pruning(strength=0.02))
    assert first.startswith("epoch 1/4  press  λ 2.0e-02  sparsity ")
    # 592 weights, 5 % of them are 29: 95.1 % are gone
    assert last.startswith("epoch 4/4  tune  sparsity 95.1 %  val/accuracy ")


def test_a_dense_run_has_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert all("val/accuracy" in line and "λ" not in line for line in lines(capsys, 2))


def test_a_long_run_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    story = lines(capsys, 41)
    assert len(story) == 14
    assert story[-1].startswith("epoch 41/41")
