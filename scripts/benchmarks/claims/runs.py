"""Runs of the study of claims: a network trained under one pressure, and what is said of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.battery.data import Sources, Split
from benchmarks.claims.data import Judge, data_of
from l1prune import (
    L1,
    L2,
    ElasticNet,
    Euclidean,
    GroupL1,
    GroupLogSum,
    Proximal,
    Subgradient,
    find_targets,
)
from l1prune.pressure.pressure import Pressure

VERSION = 1
"""Of what a run is: figures of another are not taken."""


@dataclass(frozen=True)
class Task:
    """What is learned, and how: Adam at 2e-3, batches of 32, a given number of steps.

    Attributes:
        hidden: units of each hidden layer.
        outputs: of the network.
        steps: of the optimizer.
        top: how many columns are told apart as the most important ones.
        first: whether the first layer alone is pressed, or all weights.
        regression: whether the answer is a number.
        absolute: whether that is learned by its absolute error, not by its square.
        conditions: in which it is learned; None: in all.
    """

    hidden: tuple[int, ...]
    outputs: int
    steps: int
    top: int
    first: bool = False
    regression: bool = False
    absolute: bool = False
    conditions: tuple[str, ...] | None = None
    batch: int = 32
    rate: float = 2e-3

    def network(self, inputs: int) -> nn.Sequential:
        widths = [inputs, *self.hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], self.outputs))


TASKS: Mapping[str, Task] = {
    "digits": Task((128, 64), 10, 600, 20),
    "mnist500": Task((256, 128), 10, 600, 50),
    "raw500": Task((256, 128), 10, 600, 50, conditions=("clean",)),
    "mnist5000": Task((256, 128), 10, 1500, 50),
    "xor5": Task((100,), 2, 1680, 10, first=True, batch=128, rate=3e-3),
    "dense": Task((100,), 2, 840, 10, first=True, batch=128, rate=3e-3),
    "waves": Task((64, 64), 1, 600, 5, first=True, regression=True),
    "waves-absolute": Task(
        *((64, 64), 1, 600, 5),
        first=True,
        regression=True,
        absolute=True,
        conditions=("clean", "wrong"),
    ),
}


@dataclass(frozen=True)
class Kind:
    """A kind of pressure.

    Attributes:
        words: what it is.
        strengths: the path of λ, from least to most.
        made: puts λ on an optimizer, whose targets it is given; None: the optimizer has it itself.
        decay: whether λ is the weight decay of AdamW.
        first: whether it is on the first layer alone, whatever the task.
        conditions: in which it is tried; None: in all.
    """

    words: str
    strengths: tuple[float, ...]
    made: Callable[..., Any] | None = None
    decay: bool = False
    first: bool = False
    conditions: tuple[str, ...] | None = None


def _pressed(penalty: Any, form: Any = None) -> Callable[..., Pressure]:
    return partial(_pressure, penalty=penalty, form=form)


def _pressure(
    optimizer: Optimizer, targets: Any, strength: float, penalty: Any, form: Any
) -> Pressure:
    return Pressure(optimizer, targets, penalty, strength, form)


FINE, COARSE = (1e-4, 3e-4, 1e-3, 3e-3), (0.03, 0.1, 0.2, 0.3)
KINDS: Mapping[str, Kind] = {
    "none": Kind("no pressure", (0.0,)),
    "l1": Kind("L1, proximal, Adam's metric", FINE, _pressed(L1())),
    "l1-euclidean": Kind("L1, proximal, Euclidean", COARSE, _pressed(L1(), Proximal(Euclidean()))),
    "l1-gradient": Kind(
        "L1 in the gradient", FINE, _pressed(L1(), Subgradient()), conditions=("clean",)
    ),
    "l2": Kind("L2, proximal, Adam's metric", (1e-4, 1e-3, 3e-3, 1e-2), _pressed(L2())),
    "decay": Kind("L2, weight decay of AdamW", (0.3, 1.0, 3.0, 10.0), decay=True),
    "elastic": Kind("half L1, half L2", FINE, _pressed(ElasticNet())),
    "columns": Kind(
        "group L1 of the inputs",
        COARSE,
        _pressed(GroupL1(dim=1), Proximal(Euclidean())),
        first=True,
    ),
    "columns-log": Kind(
        "group LogSum of the inputs",
        COARSE,
        _pressed(GroupLogSum(dim=1), Proximal(Euclidean())),
        first=True,
        conditions=("clean", "noise"),
    ),
}


@dataclass(frozen=True)
class Trial:
    """One network to be trained."""

    task: str
    condition: str
    kind: str
    strength: float
    seed: int

    def file(self, folder: Path) -> Path:
        """Where its figures are kept."""
        return (
            folder / self.task / self.condition / f"{self.kind}-{self.strength:g}-{self.seed}.json"
        )

    def figures(self, folder: Path) -> dict[str, Any] | None:
        """What it came to; None: it has not been run, or as another version, or is torn."""
        try:
            found = json.loads(self.file(folder).read_text(encoding="utf-8"))
            known: bool = found["version"] == VERSION and "test" in found
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if known else None


def trials(
    tasks: Sequence[str], conditions: Sequence[str], kinds: Sequence[str], seed: int
) -> list[Trial]:
    """All networks of a seed, task by task."""
    return [
        Trial(task, condition, kind, strength, seed)
        for task in tasks
        for condition in conditions
        if condition in (TASKS[task].conditions or conditions)
        for kind in kinds
        if condition in (KINDS[kind].conditions or conditions)
        for strength in KINDS[kind].strengths
    ]


def run(trial: Trial, folder: Path, sources: Sources) -> dict[str, Any]:
    """Train the network of a trial and keep its figures, unless that has been done."""
    figures = trial.figures(folder)
    if figures is None:
        split = data_of(trial.task, trial.condition, trial.seed, sources)
        figures = {"version": VERSION, **train(trial, split)}
        file = trial.file(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(figures), encoding="utf-8")
        part.replace(file)
    return figures


def train(trial: Trial, split: Split) -> dict[str, Any]:
    """Train one network, and look at it from all sides."""
    torch.set_num_threads(1)
    task = TASKS[trial.task]
    torch.manual_seed(trial.seed)
    network = task.network(split.train.inputs.shape[1])
    optimizer, some = prepared(trial.task, trial.kind, trial.strength, network)
    _fit(task, network, optimizer, split, trial.seed)
    return _seen(task, network, split, some)


def prepared(
    task: str, kind: str, strength: float, network: nn.Sequential
) -> tuple[Optimizer, list[nn.Parameter]]:
    """The optimizer of a network with its pressure on, and the weights that are pressed."""
    first, about = network[0].weight, KINDS[kind]
    assert isinstance(first, nn.Parameter)
    some = [first] if TASKS[task].first or about.first else _matrices(network)
    rest = [p for p in network.parameters() if all(p is not one for one in some)]
    decay = strength if about.decay else 0.0
    groups = [{"params": some, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=TASKS[task].rate, fused=True)
    if about.made is not None:
        chosen = [t for t in find_targets(network) if any(t.parameter is one for one in some)]
        about.made(optimizer, chosen, strength)
    return optimizer, some


def _matrices(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.ndim > 1]


def _fit(task: Task, network: nn.Module, optimizer: Optimizer, split: Split, seed: int) -> None:
    judge, source = Judge(task.regression, task.absolute), torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(task.steps):
        if len(order) < task.batch:
            order = torch.randperm(len(split.train), generator=source)
        rows, order = order[: task.batch], order[task.batch :]
        x, y = split.train.inputs[rows], split.train.labels[rows]
        optimizer.zero_grad()
        judge.loss(network(x), y).backward()
        optimizer.step()


@torch.no_grad()
def _seen(
    task: Task, network: nn.Sequential, split: Split, some: Sequence[Tensor]
) -> dict[str, Any]:
    judge, first = Judge(task.regression, task.absolute), network[0].weight
    assert isinstance(first, Tensor)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    scores = {n: judge.score(network(part.inputs), part.labels) for n, part in parts.items()}
    count = sum(weight.numel() for weight in some)
    still = split.train.inputs.amax(0) == split.train.inputs.amin(0)
    size = first.square().mean(0).sqrt()
    varying = torch.where(still, torch.zeros(()), size)
    return {
        **scores,
        "zeros": 100 * sum(int((w == 0).sum()) for w in some) / count,
        "zeros_still": 100 * int((first[:, still] == 0).sum()) / count,
        "small": 100 * sum(int((w.abs() < 1e-3).sum()) for w in some) / count,
        "inputs": int((~still).sum()),
        "inputs_left": int(varying.count_nonzero()),
        "top": sorted(varying.topk(task.top).indices.tolist()),
        **_shaken(task, network, split),
    }


def _shaken(task: Task, network: nn.Sequential, split: Split) -> dict[str, float]:
    """The test score where inputs, or weights, are a little off: half a deviation, a tenth."""
    judge, source = Judge(task.regression, task.absolute), torch.Generator().manual_seed(0)
    x, y = split.test.inputs, split.test.labels
    off = judge.score(network(x + 0.5 * torch.randn(x.shape, generator=source)), y)
    for weight in _matrices(network):
        deviation = weight.square().mean().sqrt()
        weight.add_(0.1 * deviation * torch.randn(weight.shape, generator=source))
    return {"test_inputs_off": off, "test_weights_off": judge.score(network(x), y)}
