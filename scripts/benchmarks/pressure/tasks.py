"""Networks in training, to put pressure on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measure import Work
from l1prune import find_targets
from l1prune.weights.targets import Targets
from l1prune.zoo import lenet300, mlp, resnet20
from l1prune.zoo.gpt import GPT

# So little that the weights hardly move: all contenders work on the same numbers.
STRENGTH, RATE = 1e-6, 1e-5


@dataclass
class Task:
    """A network, the batch that it trains on, and the most that pressure may cost."""

    name: str
    model: nn.Module
    inputs: Tensor
    classes: Tensor
    goal: float
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    targets: Targets = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.targets = find_targets(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, fused=True)

    def backward(self) -> None:
        self.optimizer.zero_grad()
        with self.autocast():
            logits = self.model(self.inputs).flatten(0, -2)
            loss = F.cross_entropy(logits, self.classes.flatten())
        loss.backward()

    def step(self) -> None:
        self.backward()
        self.optimizer.step()


Maker = Callable[[torch.device, bool], Task]
"""Makes a task on a device; a tiny one if it is to be quick."""


def images(
    name: str,
    network: Callable[[tuple[int, ...], int], nn.Module],
    shape: tuple[int, int, int],
    goal: float,
    batch: int = 128,
) -> Maker:
    """A network for images of a shape."""

    def make(device: torch.device, quick: bool) -> Task:
        torch.manual_seed(0)
        count = 4 if quick else batch
        classes = torch.randint(10, (count,), device=device)
        pictures = torch.rand(count, *shape, device=device)
        model = network(shape, 10).to(device)
        return Task(f"{name}, batch {count}", model, pictures, classes, goal)

    return make


def gpt(width: int, goal: float) -> Maker:
    """A GPT of six layers, with nanoGPT's batches for a CPU and for a GPU."""

    def make(device: torch.device, quick: bool) -> Task:
        torch.manual_seed(0)
        gpu = device.type == "cuda"
        batch, length = (2, 8) if quick else (64, 256) if gpu else (12, 64)
        layers = 1 if quick else 6
        tokens = torch.randint(65, (batch, length), device=device)
        model = GPT(65, length, layers, width // 8 if quick else width, heads=6).to(device)
        name = f"GPT-{width}, {layers} layers, {batch} × {length} tokens"
        return Task(name, model, tokens, tokens.roll(-1, 1), goal)

    return make


TASKS: Mapping[str, Maker] = {
    "mlp": images("digits MLP", mlp, (1, 8, 8), 1.06, batch=32),
    "lenet": images("LeNet-300-100", lenet300, (1, 28, 28), 1.04),
    "resnet": images("ResNet-20", resnet20, (3, 32, 32), 1.02),
    "gpt192": gpt(192, 1.01),
    "gpt384": gpt(384, 1.01),
}


def torchao(task: Task) -> Work | None:
    """A training step of a copy under torchao's lasso on the same weights, where there is one."""
    try:
        from torchao.prototype.pat import PruneOptimizer
    except ImportError:
        return None
    model = copy.deepcopy(task.model)
    rival = Task(task.name, model, task.inputs, task.classes, task.goal, task.autocast)
    chosen = {id(target.parameter) for target in rival.targets}
    lasso = {"prox_type": "ProxLasso", "group_type": "ElemGrouper", "reg_lambda": STRENGTH}
    groups = [
        {"params": [target.parameter for target in rival.targets], **lasso},
        {"params": [p for p in model.parameters() if id(p) not in chosen]},
    ]
    rival.optimizer = PruneOptimizer(torch.optim.AdamW(groups, lr=RATE, fused=True))
    return rival.step
