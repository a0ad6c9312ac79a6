"""Frameworks wrap optimizers, and save and load what has a state: a run goes along with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from tasks import examples, layers
from torch import nn

from l1prune import Pruning, PruningRun, Sparsity

HALF = Pruning(1e-3, Sparsity(0.5), prune_at=[0.25, 0.5])
STEPS = 20


class UnderFabric:
    """Trains under Fabric, saves, and loads."""

    def __init__(self, folder: Path) -> None:
        self.fabric, self.file = Fabric(accelerator="cpu", devices=1), folder / "state.ckpt"
        self.plain = layers(8, 30, 2)
        made = torch.optim.AdamW(self.plain.parameters(), lr=0.01)
        self.network, self.optimizer = self.fabric.setup(self.plain, made)
        self.run = HALF.attached(self.plain, self.optimizer, STEPS)
        self.state = {"network": self.network, "optimizer": self.optimizer, "run": self.run}

    def backward(self, loss: Any) -> None:
        self.fabric.backward(loss)

    def save(self) -> None:
        self.fabric.save(self.file, self.state)

    def load(self) -> None:
        self.fabric.load(self.file, self.state)


class UnderAccelerate:
    """Likewise under Accelerate."""

    def __init__(self, folder: Path) -> None:
        accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator, self.folder = accelerate.Accelerator(cpu=True), str(folder)
        self.plain = layers(8, 30, 2)
        made = torch.optim.AdamW(self.plain.parameters(), lr=0.01)
        self.network, self.optimizer = self.accelerator.prepare(self.plain, made)
        self.run = HALF.attached(self.plain, self.optimizer, STEPS)
        self.accelerator.register_for_checkpointing(self.run)

    def backward(self, loss: Any) -> None:
        self.accelerator.backward(loss)

    def save(self) -> None:
        self.accelerator.save_state(self.folder)

    def load(self) -> None:
        self.accelerator.load_state(self.folder)


class Plain:
    """What both come to."""

    def __init__(self, _: Path) -> None:
        self.plain = self.network = layers(8, 30, 2)
        self.optimizer = torch.optim.AdamW(self.plain.parameters(), lr=0.01)
        self.run: PruningRun = HALF.attached(self.plain, self.optimizer, STEPS)

    def backward(self, loss: Any) -> None:
        loss.backward()


def trained(one: Any, steps: int) -> list[nn.Parameter]:
    x, y = examples().tensors
    for _ in range(steps):
        one.backward((one.network(x) - y).square().mean())
        one.optimizer.step()
        one.optimizer.zero_grad()
    return [*one.plain.parameters()]


def same(one: Iterator[torch.Tensor] | list[nn.Parameter], other: list[nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize("kind", [UnderFabric, UnderAccelerate])
def test_a_run_is_the_same_under_each_and_goes_on_from_what_it_saves(
    kind: Any, tmp_path: Path
) -> None:
    plain = Plain(tmp_path)
    trained(plain, STEPS)
    plain.run.end()
    whole = kind(tmp_path)
    trained(whole, 7)
    whole.save()
    assert same(trained(whole, STEPS - 7), [*plain.plain.parameters()])
    whole.run.end()
    again = kind(tmp_path)
    trained(again, 2)
    again.load()
    assert again.run.steps == 7 and again.run.phase == "press"
    assert same(trained(again, STEPS - 7), [*whole.plain.parameters()])
    again.run.end()
    assert again.run.report.nonzero == 150
