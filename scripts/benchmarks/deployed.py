"""Trained runs, deployed: what is left of them in each form, and what they still get right."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import AtLeast, Row
from l1prune.commands.deploy import Tests, deploy
from l1prune.commands.source import Source
from l1prune.commands.train import silence_advice
from l1prune.deploy.compact import compact
from l1prune.deploy.inputs import example_of, first_call, in_batches
from l1prune.deploy.variants import filled
from l1prune.runs.deployment import Deployment, Measurement, metric_of

COMPACT, EXACT, HALF = "compact", "compact, sparse file", "compact, float16"
SPARSE = "compact, sparse execution"
BEST = "the best form"
FIGURES: Mapping[str, Callable[[Measurement, Measurement], float]] = {
    "parameters": lambda dense, one: dense.parameters / one.parameters,
    "multiply-accumulates": lambda dense, one: dense.macs / one.macs,
    "bytes": lambda dense, one: dense.nbytes / one.nbytes,
    "batch 1": lambda dense, one: one.latency[1].speed,
    "batch 64": lambda dense, one: one.latency[64].speed,
    "batch 64, over the ratio of multiply-accumulates": lambda dense, one: (
        one.latency[64].speed * one.macs / dense.macs
    ),
}
"""How many times smaller or faster a form is than the dense network."""


@dataclass(frozen=True)
class Trained:
    """A run to deploy, and what is asked of it.

    Attributes:
        name: of its folder.
        command: the options of train.py that make it.
        goals: a form, a figure, and how much at least.
    """

    name: str
    command: str
    goals: tuple[tuple[str, str, float], ...]


RUNS = (
    Trained(
        "digits95",
        "+prune=l1",
        ((COMPACT, "parameters", 4.2), (EXACT, "bytes", 16.0), (HALF, "bytes", 26.0)),
    ),
    Trained("digits99", "experiment=digits_99", ((COMPACT, "parameters", 16.0),)),
    Trained(
        "lenet66",
        "experiment=mnist_lenet300_66x prune/strength=by_passes prune.strength.most=1e-4 "
        "prune.strength.limit=0.1",
        (
            *((COMPACT, "parameters", 3.8), (EXACT, "bytes", 50.0), (HALF, "bytes", 85.0)),
            *((SPARSE, "batch 1", 1.6), (SPARSE, "batch 64", 3.0)),
            *((BEST, "batch 1", 3.5), (BEST, "batch 64", 5.0)),
        ),
    ),
    Trained(
        "resnet98",
        "experiment=digits_resnet20",
        ((EXACT, "bytes", 22.0), (HALF, "bytes", 30.0)),
    ),
    Trained(
        "resnet_channels",
        "+prune=channels model=resnet20 data=mnist prune.threshold.measure=time "
        "prune.threshold.left=0.58 +prune.threshold.multiple=8 trainer.max_epochs=5 "
        "+trainer.limit_train_batches=100",
        (
            (COMPACT, "multiply-accumulates", 2.5),
            (COMPACT, "batch 64, over the ratio of multiply-accumulates", 0.7),
        ),
    ),
    Trained(
        "gpt90",
        "experiment=shakespeare_gpt model.network.layers=2 model.network.width=64 "
        "model.network.heads=4",
        ((COMPACT, "parameters", 1.6),),
    ),
)


def trained_runs(runs: Path) -> Iterator[Row]:
    """What is left of each run, form by form."""
    silence_advice()
    for run in RUNS:
        folder = runs / run.name
        if not (folder / "summary.json").exists():
            command = f"python scripts/train.py {run.command} hydra.run.dir={folder}"
            yield AtLeast(f"{run.name}, deployed", "×", 1.0, None, note=f"not there: {command}")
            continue
        source = Source.of(folder, ())
        with tempfile.TemporaryDirectory() as output:
            found = deploy(source, Path(output))
        yield from exactness(run, source, found)
        yield from (asked(run, goal, found.measurements) for goal in run.goals)


def asked(run: Trained, goal: tuple[str, str, float], found: Sequence[Measurement]) -> Row:
    """The row of one goal."""
    form, figure, least = goal
    dense, *others = found
    reached = {
        one.name: FIGURES[figure](dense, one)
        for one in others
        if form in (one.name, BEST) and one.latency
    }
    work = f"{run.name}, {form}: {figure}"
    if not reached:
        return AtLeast(work, "×", least, None, note="there is no such form here")
    name = max(reached, key=lambda one: reached[one])
    figures = next(one.figures for one in others if one.name == name)
    note = f"{name}; " * (form == BEST) + accuracy(dense.figures, figures)
    return AtLeast(work, "×", least, reached[name], note=note)


def accuracy(dense: Mapping[str, float], form: Mapping[str, float]) -> str:
    """What both get right on the test set."""
    name = metric_of(dense)
    if name not in form:
        return ""
    return f"{name} {form[name]:.4g}, dense {dense[name]:.4g}"


def exactness(run: Trained, source: Source, found: Deployment) -> Iterator[Row]:
    """How far the compact network is from the dense one, and on how much of the test set."""
    dense = found.measurements[0]
    for one in found.measurements:
        if one.name == COMPACT:
            yield Row(
                f"{run.name}, compact: relative difference in float32", "", 1e-6, one.relative
            )
            name = metric_of(dense.figures)
            off = abs(one.figures[name] - dense.figures[name])
            yield Row(f"{run.name}, compact: difference of {name}", "", 0.0, off)
    module, data = source.made()
    network = filled(module.network, source.weights)
    with first_call(network) as calls:
        Tests(module, data, network)(network)
    exact = compact(network, example_of(in_batches(calls[0], 2))).report.difference64
    yield Row(f"{run.name}, compact: relative difference in float64", "", 1e-12, exact)
