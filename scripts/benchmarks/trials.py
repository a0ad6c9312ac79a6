"""The runs that compare this library with its rivals, and how they are started.

All have the same data, network, epochs, optimizer, learning rates and input dropout; only `prune`
differs. What has a strength has it chosen by validation accuracy, on seeds that are not compared.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

TRAIN = Path(__file__).parents[1] / "train.py"
CHOICES = Path(__file__).parent / "conf"
DENSE, OURS = "dense", "l1"

CONTENDERS = {
    OURS: "l1prune",
    "gradual": "gradual, with LAMP",
    "modelpruning": "Lightning's ModelPruning",
    "pat": "torchao's PAT",
    "l1_loss": "L1 in the loss",
}
"""Choices of `prune`, and what they are called. `l1` is run as it comes."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is learned, and how sparse it is to become.

    Attributes:
        options: of scripts/train.py.
        grids: by contender, the strengths that are tried for it.
        chosen: by contender and sparsity, the best of these on validation.
    """

    name: str
    title: str
    options: tuple[str, ...]
    sparsities: tuple[float, ...]
    grids: Mapping[str, tuple[float, ...]]
    chosen: Mapping[str, Mapping[float, float]]


DIGITS = Task(
    "digits",
    "Digits, MLP with 50,432 weights, 30 epochs",
    ("data=digits", "model=mlp", "trainer.max_epochs=30"),
    (0.9, 0.95, 0.98, 0.99),
    grids={"pat": (0.05, 0.1, 0.2, 0.3, 0.5), "l1_loss": (3e-4, 1e-3, 2e-3, 3e-3, 5e-3)},
    chosen={
        "pat": {0.9: 0.1, 0.95: 0.3, 0.98: 0.2, 0.99: 0.3},
        "l1_loss": {0.9: 3e-4, 0.95: 3e-4, 0.98: 2e-3, 0.99: 3e-3},
    },
)
LENET = Task(
    "lenet300",
    "MNIST, LeNet-300-100 with 266,200 weights, 50 epochs",
    ("data=mnist", "model=lenet300", "trainer.max_epochs=50"),
    (0.985,),
    grids={"pat": (0.01, 0.03, 0.1, 0.3), "l1_loss": (3e-5, 1e-4, 3e-4, 1e-3)},
    chosen={"pat": {0.985: 0.03}, "l1_loss": {0.985: 1e-4}},
)
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (DIGITS, LENET)})


@dataclass(frozen=True)
class Plan:
    """What to run, and where.

    Attributes:
        folder: of all runs; those that are finished are not run again.
        jobs: how many run at once.
        options: more of scripts/train.py's, for all runs.
        mnist: a folder with MNIST; without it it comes from the Hub.
    """

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    folder: Path
    jobs: int = 1
    options: tuple[str, ...] = ()
    mnist: Path | None = None

    def options_of(self, trial: Trial) -> list[str]:
        """The command line of a run, but for its folder."""
        own = (
            [f"data.path={self.mnist}"] if self.mnist and "data=mnist" in trial.task.options else []
        )
        return [*trial.options, "logger=none", *own, *self.options]

    def run_of(self, trial: Trial) -> Path:
        """The folder of a run."""
        return self.folder / trial.place

    def finished(self, trial: Trial) -> bool:
        """Whether the run has ended, with these very options."""
        began = self.run_of(trial) / ".hydra" / "overrides.yaml"
        if not (self.run_of(trial) / "summary.json").exists() or not began.exists():
            return False
        options: list[str] = yaml.safe_load(began.read_text())
        return options == self.options_of(trial)


@dataclass(frozen=True)
class Trial:
    """One network to be trained."""

    task: Task
    contender: str
    sparsity: float
    strength: float | None
    seed: int = 0

    @property
    def options(self) -> list[str]:
        pruned = [f"+prune={self.contender}", f"prune.threshold.sparsity={self.sparsity}"]
        if self.strength is not None:
            pruned.append(f"prune.strength={self.strength:g}")
        dense = self.contender == DENSE
        return [*self.task.options, *([] if dense else pruned), f"seed={self.seed}"]

    @property
    def place(self) -> Path:
        """Where it belongs, below the folder of all."""
        parts = [] if self.contender == DENSE else [str(self.sparsity)]
        parts += [self.contender, *([] if self.strength is None else [f"{self.strength:g}"])]
        return Path(self.task.name, *parts, str(self.seed))


def contest(plan: Plan) -> Iterator[Trial]:
    """What is compared: the dense network, and each contender at each sparsity, seed 0 first."""
    for task in plan.tasks:
        for seed in plan.seeds:
            yield Trial(task, DENSE, 0.0, None, seed)
            for sparsity in task.sparsities:
                for name in contenders():
                    strength = task.chosen.get(name, {}).get(sparsity)
                    yield Trial(task, name, sparsity, strength, seed)


def grid(plan: Plan) -> Iterator[Trial]:
    """What is tried to choose the strengths."""
    for task in plan.tasks:
        for sparsity in task.sparsities:
            for name in contenders():
                for strength in task.grids.get(name, ()):
                    for seed in plan.seeds:
                        yield Trial(task, name, sparsity, strength, seed)


def contenders() -> list[str]:
    """Those that can be run here."""
    missing = importlib.util.find_spec("torchao") is None
    return [name for name in CONTENDERS if not (missing and name == "pat")]


def train(plan: Plan, trials: Sequence[Trial]) -> list[str]:
    """Run what is not finished; returns what went wrong, by run."""
    todo = [trial for trial in trials if not plan.finished(trial)]
    print(f"{len(trials)} runs, {len(trials) - len(todo)} finished already", file=sys.stderr)
    pool = ThreadPoolExecutor(plan.jobs)
    try:
        return [line for line in pool.map(lambda trial: start(plan, trial), todo) if line]
    finally:
        pool.shutdown(cancel_futures=True)


def start(plan: Plan, trial: Trial) -> str:
    """Train one network; returns why it failed, or nothing."""
    run = plan.run_of(trial)
    run.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN), f"--config-dir={CHOICES}", *plan.options_of(trial)]
    path = os.pathsep.join([str(TRAIN.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, f"hydra.run.dir={run}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    last = (done.stdout.strip() or done.stderr.strip() or "no word").splitlines()[-1]
    print(f"{trial.place}: {last}", file=sys.stderr, flush=True)
    return f"{run}: {done.stderr.strip()[-500:]}" if done.returncode else ""
