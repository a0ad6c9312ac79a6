"""Whole runs on a GPU: zeros in every precision, and a stopped run that ends with the same bits."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tasks import Save, Task, fit
from torch import Tensor, nn

from l1prune import (
    LAMP,
    Budget,
    ChannelL1,
    Cost,
    Euclidean,
    Follow,
    GroupL1,
    L1Pruning,
    LogSum,
    Magnitude,
    PerOutput,
    Proximal,
    Pruning,
    Refit,
    Saliency,
    SemiStructured,
    Size,
    Sparsity,
    SparsityPath,
    Subgradient,
    Wanda,
    once,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

GPU: dict[str, Any] = {"accelerator": "gpu", "devices": 1}

OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=0.01),
    "adamw fused": partial(torch.optim.AdamW, lr=0.01, fused=True),
    "adamw foreach": partial(torch.optim.AdamW, lr=0.01, foreach=True),
    "adamw capturable": partial(torch.optim.AdamW, lr=0.01, capturable=True),
    "adamw amsgrad": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.01),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
    "sgd fused": partial(torch.optim.SGD, lr=0.01, momentum=0.9, fused=True),
}

METHODS = {
    "default": lambda: L1Pruning(threshold=Sparsity(0.9)),
    "finetune": lambda: L1Pruning.finetune(threshold=Sparsity(0.9)),
    "gradual": lambda: L1Pruning(0.0, Sparsity(0.9, scope=LAMP())),
    "per output": lambda: L1Pruning(threshold=Sparsity(0.9, scope=PerOutput()), criterion=Size()),
    "wanda": lambda: L1Pruning(threshold=Sparsity(0.9), criterion=Wanda()),
    "refit": lambda: L1Pruning(threshold=Sparsity(0.9), criterion=Refit(Saliency())),
    "euclidean": lambda: L1Pruning(0.1, Sparsity(0.9), form=Proximal(Euclidean())),
    "concave": lambda: L1Pruning(1e-3, Sparsity(0.9), penalty=LogSum()),
    "subgradient": lambda: L1Pruning(1e-3, Sparsity(0.9), form=Subgradient()),
    "columns": lambda: L1Pruning(threshold=Sparsity(0.875), penalty=GroupL1(dim=1)),
    "2:4": lambda: L1Pruning(threshold=SemiStructured(2, 4)),
    "follow": lambda: L1Pruning(Follow(), Sparsity(0.9), prune_at=once(0.5)),
    "magnitude": lambda: L1Pruning(1e-3, Magnitude(0.05), prune_at=once(0.5)),
    "budget": lambda: L1Pruning(1e-3, Budget("val/loss", 0.5, rounds=2)),
    "path": lambda: L1Pruning(threshold=SparsityPath([0.5, 0.8])),
}


def zeros(model: nn.Module) -> list[int]:
    return [int((w == 0).sum()) for w in model.parameters() if w.dim() > 1]


def copied(task: L.LightningModule) -> list[Tensor]:
    return [w.detach().cpu().clone() for w in task.parameters()]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_the_zeros_that_it_reports(method: str) -> None:
    task, callback = Task(), METHODS[method]()
    fit(task, callback, epochs=12, **GPU)
    assert callback.report is not None
    assert sum(zeros(task)) == sum(one.total - one.nonzero for one in callback.report.layers)
    if isinstance(callback.recipe.threshold, Sparsity):
        assert callback.report.sparsity == pytest.approx(
            callback.recipe.threshold.sparsity, abs=0.04 if method == "columns" else 0
        )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_zeros_are_exact_in_every_precision(optimizer: str, precision: Any) -> None:
    if precision == "bf16-true" and "fused" in optimizer:
        pytest.skip("one of them is enough")
    task, callback = Task(optimizer=OPTIMIZERS[optimizer]), L1Pruning(threshold=Sparsity(0.9))
    fit(task, callback, epochs=6, precision=precision, **GPU)
    assert callback.report is not None and callback.report.sparsity == 0.9
    assert sum(zeros(task)) == 270
    assert all(w.isfinite().all() for w in task.parameters())


@pytest.mark.parametrize("method", ["default", "finetune", "wanda", "follow", "budget"])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    method: str, precision: Any, tmp_path: Path
) -> None:
    file = tmp_path / "stopped.ckpt"
    whole = Task()
    options = {"epochs": 12, "precision": precision, "deterministic": True} | GPU
    fit(whole, METHODS[method](), Save(file, epochs=5), **options)
    again = Task()
    fit(again, METHODS[method](), resume=file, **options)
    assert all(torch.equal(a, b) for a, b in zip(copied(whole), copied(again)))


def test_a_checkpoint_of_a_gpu_goes_on_without_one(tmp_path: Path) -> None:
    file = tmp_path / "stopped.ckpt"
    fit(Task(), L1Pruning(threshold=Sparsity(0.9)), Save(file, epochs=5), epochs=12, **GPU)
    task, callback = Task(), L1Pruning(threshold=Sparsity(0.9))
    fit(task, callback, epochs=12, resume=file)
    assert callback.report is not None and callback.report.sparsity == 0.9


def test_a_gpu_computes_what_the_cpu_does() -> None:
    """To rounding: the masks agree but for weights that are worth the same to the last digits."""
    here, there = Task(), Task()
    fit(here, L1Pruning(threshold=Sparsity(0.5)), epochs=6)
    fit(there, L1Pruning(threshold=Sparsity(0.5)), epochs=6, **GPU)
    for a, b in zip(copied(here), copied(there)):
        assert ((a == 0) == (b == 0)).float().mean() > 0.97
        assert (a - b).abs().median() < 1e-4


def test_a_process_among_others() -> None:
    task, callback = Task(), L1Pruning(threshold=Sparsity(0.9))
    fit(task, callback, epochs=6, strategy="ddp", **GPU)
    assert callback.report is not None and callback.report.sparsity == 0.9


def test_a_network_that_is_compiled() -> None:
    task, callback = Task(), L1Pruning(threshold=Sparsity(0.9))
    task.net = torch.compile(task.net)
    fit(task, callback, epochs=6, **GPU)
    assert callback.report is not None and callback.report.sparsity == 0.9


def test_convolutions_whose_channels_go() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)),
        nn.Conv2d(2, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
    ).to(memory_format=torch.channels_last)
    channels = L1Pruning(threshold=Cost("macs", 0.5), penalty=ChannelL1())
    for callback in (METHODS["default"](), METHODS["finetune"](), channels):
        task = Task(copy.deepcopy(net))
        task.example_input_array = torch.zeros(1, 8)
        fit(task, callback, epochs=12, **GPU)
        assert callback.report is not None and callback.report.sparsity > 0.4


def test_a_loop_of_ones_own_with_scaled_gradients() -> None:
    task = Task()
    net = task.net.cuda()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cuda")
    loader = task.train_dataloader()
    with Pruning(threshold=Sparsity(0.9)).attached(
        net, optimizer, steps=50, steps_per_pass=len(loader)
    ) as run:
        for _ in range(14):  # some of them are skipped until the scale fits
            for x, y in loader:
                with torch.autocast("cuda", torch.float16):
                    loss = (net(x.cuda()) - y.cuda()).square().mean()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
    assert run.report.sparsity == 0.9 and sum(zeros(net)) == 270
