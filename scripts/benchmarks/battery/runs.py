"""Runs of the battery: a network trained by a contender, and what it came to, kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from benchmarks.battery.data import Sources, Split
from benchmarks.battery.tasks import TASKS, Task
from l1prune import LAMP, L1Pruning, Saliency, Size, Sparsity, rounds
from l1prune.zoo.examples import Examples, as_read

Contender = Callable[[float], L1Pruning | None]
"""What makes a network of a given sparsity; None: it stays dense."""

CONTENDERS: Mapping[str, Contender] = {
    "dense": lambda sparsity: None,
    "gradual": lambda sparsity: L1Pruning(
        0.0, Sparsity(sparsity, scope=LAMP()), prune_at=rounds(0.1, 0.6, 50)
    ),
    "pressure": lambda sparsity: L1Pruning(threshold=Sparsity(sparsity), criterion=Size()),
    "order": lambda sparsity: L1Pruning(0.0, Sparsity(sparsity)),
    "l1": lambda sparsity: L1Pruning(threshold=Sparsity(sparsity)),
    "finetune": lambda sparsity: L1Pruning.finetune(threshold=Sparsity(sparsity)),
}
"""`gradual` and `l1`, and between them pressure without order, and order without pressure."""


PARTS = {"train", "val", "test"}


class Learner(L.LightningModule):
    """A network that learns a task, at rates that a cosine takes to zero after a short rise."""

    def __init__(self, task: Task, network: nn.Module) -> None:
        super().__init__()
        self.task, self.network = task, network

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self.task.metric.loss(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = self.task.optimizer(self.parameters())
        steps = int(self.trainer.estimated_stepping_batches)

        def factor(step: int) -> float:
            done = step / max(steps, 1)
            return min(done / 0.05 + 0.01, 1.0) * (1 + math.cos(math.pi * done)) / 2

        scheduler = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


@dataclass(frozen=True)
class Trial:
    """One network to be trained."""

    task: str
    contender: str
    seed: int

    def file(self, folder: Path) -> Path:
        """Where its figures are kept."""
        return folder / self.task / f"{self.contender}-{self.seed}.json"

    @property
    def recipe(self) -> str:
        """What task and contender are, by which figures of another version are known."""
        task = TASKS[self.task]
        pruning = CONTENDERS[self.contender](task.sparsity)
        # Where no criterion is named it is the library's own, which may be another one some day.
        words = {} if pruning is None else {**pruning.recipe.words, "default": repr(Saliency())}
        return f"{described(task)} {json.dumps(words, sort_keys=True)}"

    def figures(self, folder: Path) -> dict[str, Any] | None:
        """What it came to; None: it has not been run, or with another recipe, or is torn."""
        try:
            found = json.loads(self.file(folder).read_text(encoding="utf-8"))
            known: bool = (
                found["recipe"] == self.recipe and {"train", "val", "test"} <= found.keys()
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if known else None


def described(task: Task) -> str:
    """All that decides what a task's dense network comes to, the same in each process.

    >>> described(TASKS["wide"])
    'chain([64, 1500, 10]) 111,000 weights, Adam(lr=0.002), 30 passes of batches of 32 after 0'
    """
    network, optimizer = _call(task.network), _call(task.optimizer)
    weights = sum(p.numel() for p in task.network().parameters() if p.ndim > 1)
    passes = f"{task.passes} passes of batches of {task.batch} after {task.warm}"
    return f"{network} {weights:,} weights, {optimizer}, {passes}"


def _call(function: Any) -> str:
    given = getattr(function, "func", function)
    words = [_call(one) if callable(one) else repr(one) for one in getattr(function, "args", ())]
    words += [f"{name}={value!r}" for name, value in getattr(function, "keywords", {}).items()]
    return f"{given.__name__}({', '.join(words)})"


def run(trial: Trial, folder: Path, sources: Sources) -> dict[str, Any]:
    """Train the network of a trial and keep its figures, unless that has been done."""
    figures = trial.figures(folder)
    if figures is None:
        task = TASKS[trial.task]
        pruning = CONTENDERS[trial.contender](task.sparsity)
        figures = {"recipe": trial.recipe, **train(task, pruning, trial.seed, folder, sources)}
        file = trial.file(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(figures), encoding="utf-8")
        part.replace(file)
    return figures


def train(
    task: Task, pruning: L1Pruning | None, seed: int, folder: Path, sources: Sources
) -> dict[str, Any]:
    """Train one network; its figures on all parts of the data, and how many weights are left."""
    torch.set_num_threads(1)
    data = task.data(sources)
    torch.manual_seed(seed)
    network = task.network()
    if task.warm:
        network.load_state_dict(_warm(task, seed, folder, sources))
    _fit(task, network, data.train, [pruning] if pruning else [], seed)
    network.eval()
    left = sum(int(p.count_nonzero()) for p in network.parameters() if p.ndim > 1)
    judged = {name: _judge(task, network, data, name) for name in sorted(PARTS)}
    return {**judged, "weights": left}


def _warm(task: Task, seed: int, folder: Path, sources: Sources) -> dict[str, Tensor]:
    """The trained network that a task begins with, trained once for all contenders."""
    key = hashlib.sha256(described(task.before).encode()).hexdigest()[:12]
    file = folder / "dense" / f"{task.name.rpartition('-')[0]}-{seed}-{key}.pt"
    if not file.exists():
        torch.manual_seed(seed)
        network = task.network()
        _fit(task.before, network, task.data(sources).train, [], seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        torch.save(network.state_dict(), part)
        part.replace(file)
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state


def _fit(
    task: Task, network: nn.Module, examples: Examples, callbacks: Sequence[L.Callback], seed: int
) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        examples, task.batch, shuffle=True, drop_last=True, collate_fn=as_read, generator=order
    )
    trainer = L.Trainer(
        max_epochs=task.passes, callbacks=[*callbacks], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The 'train_dataloader' does not have many workers")
        warnings.filterwarnings("ignore", "The '.*' was created with")
        warnings.filterwarnings("ignore", "`isinstance.* is deprecated")
        warnings.filterwarnings("ignore", "the cut left")
        trainer.fit(Learner(task, network), loader)


@torch.no_grad()
def _judge(task: Task, network: nn.Module, data: Split, part: str) -> dict[str, float]:
    examples: Examples = getattr(data, part)
    batches = range(0, len(examples), 1000)
    answers = torch.cat([network(examples.inputs[at : at + 1000]) for at in batches])
    metric = task.metric
    return {
        "figure": float(metric.figure(answers, examples.labels)),
        "loss": float(metric.loss(answers, examples.labels)),
    }
