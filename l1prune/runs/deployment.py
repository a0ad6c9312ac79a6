"""Deployment: what a network costs in each form that it was written in, in `deploy.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l1prune.checks import is_number
from l1prune.deploy.latency import Latency
from l1prune.deploy.variants import BATCHES
from l1prune.runs.escapes import printable
from l1prune.runs.files import read_json
from l1prune.weights.files import write_whole
from l1prune.weights.table import aligned

FOLDER, FILE, PICTURE = "deploy", "deploy.json", "deploy.png"
VERSION = 1
COSTS = {
    "deploy/bytes": "bytes of the smallest file",
    "deploy/macs": "multiply-accumulates",
    **{f"deploy/latency_{n}": f"latency at batch {n}, over the dense network's" for n in BATCHES},
}
"""What a person pays for, by the names of the figures on W&B and on the page of runs."""


@dataclass(frozen=True)
class Measurement:
    """One form of a network, measured.

    Attributes:
        name: of the form.
        file: where it is, from the folder of `deploy.json`.
        nbytes: of the file.
        parameters: of the network in it.
        macs: its multiply-accumulates for one example.
        absolute: the largest difference from what the original returns, on random inputs.
        relative: the same over the largest number that it returns.
        latency: by the number of examples at once.
        figures: on the test set, as the module logs them.
    """

    name: str
    file: str
    nbytes: int
    parameters: int
    macs: int
    absolute: float
    relative: float
    latency: Mapping[int, Latency]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Deployment:
    """All forms of a network, the original first.

    Attributes:
        measurements: at least that of the original.
        notes: what is missing, and why.
        machine: on which latencies were measured.
    """

    measurements: Sequence[Measurement]
    notes: Sequence[str]
    machine: Mapping[str, Any]

    @property
    def metric(self) -> str:
        """The figure that says how good a form is."""
        return metric_of(self.measurements[0].figures)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `deploy.json` has them."""
        return {
            "version": VERSION,
            "metric": self.metric,
            "machine": dict(self.machine),
            "notes": list(self.notes),
            "variants": [asdict(one) for one in self.measurements],
        }

    def write(self, folder: Path) -> None:
        """Write `deploy.json` in a folder."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"
        write_whole(folder / FILE, lambda part: part.write_text(text, encoding="utf-8"))

    def __str__(self) -> str:
        """A table a person can read; below it what it means and what is missing."""
        original, *others = self.measurements
        batches = [f"batch {BATCHES[0]}", *map(str, BATCHES[1:])]
        quality = self.metric.rpartition("/")[2]
        rows: list[tuple[str, ...]] = [
            ("", "parameters", "MACs", "bytes", *batches, "difference", quality)
        ]
        counts = (original.parameters, original.macs, original.nbytes)
        last = shown(self.metric, original.figures)
        rows.append(
            (original.name, *(f"{n:,}" for n in counts), *("1.00×" for _ in BATCHES), "", last)
        )
        rows += [self._row(one, original) for one in others]
        lines = aligned(rows, left=1)
        lines.insert(1, "─" * max(map(len, lines)))
        lines.append(
            "\nbatch: how many times faster than the dense network, by CPU time of one thread, side "
            "by side in\none process; difference: the largest from it, over its largest output, on "
            "random inputs"
        )
        lines += [f"left out: {printable(note, 1000)}" for note in self.notes]
        return "\n".join(lines)

    def _row(self, one: Measurement, original: Measurement) -> tuple[str, ...]:
        speeds = (f"{one.latency[n].speed:.2f}×" if n in one.latency else "–" for n in BATCHES)
        return (
            one.name,
            f"{one.parameters:,} ({_times(original.parameters, one.parameters)})",
            _times(original.macs, one.macs),
            f"{one.nbytes:,} ({_times(original.nbytes, one.nbytes)})",
            *speeds,
            f"{one.relative:.0e}",
            shown(self.metric, one.figures),
        )


def metric_of(figures: Mapping[str, Any]) -> str:
    """The figure that says how good a network is: an accuracy if there is one, else no loss.

    >>> metric_of({"test/loss": 0.1, "test/accuracy": 0.9}), metric_of({"test/loss": 0.1})
    ('test/accuracy', 'test/loss')
    """
    order = sorted(figures, key=lambda name: ("accuracy" not in name, "loss" in name))
    return order[0] if order else ""


def shown(metric: str, figures: Mapping[str, float]) -> str:
    """A figure for people: accuracies in percent.

    >>> shown("test/accuracy", {"test/accuracy": 0.975}), shown("test/loss", {"test/loss": 0.0312})
    ('97.50 %', '0.0312')
    """
    if metric not in figures:
        return "–"
    value = figures[metric]
    return f"{100 * value:.2f} %" if "accuracy" in metric else f"{value:.4g}"


def read_costs(file: Path) -> dict[str, float]:
    """What a person pays for the network in a `deploy.json`: see `costs_of`.

    Raises:
        OSError: there is no such file.
        ValueError: it is none, or a figure in it is impossible.
    """
    tree = read_json(file)
    try:
        return costs_of(tree)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a table of deployed forms: {error!r:.200}") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def costs_of(tree: Any) -> dict[str, float]:
    """The least that a person pays for a network, by the names in `COSTS`.

    Of each cost the least of all forms that are as good on the test set as the original. A latency
    is a share of the original's.

    Args:
        tree: as `Deployment.to_dict` makes it.

    Raises:
        ValueError: a figure is impossible; besides, what plain values of another shape raise.
    """
    if tree["version"] != VERSION:
        raise ValueError(f"is of version {tree['version']!r:.40}, this is {VERSION}")
    metric = str(tree["metric"])
    original = tree["variants"][0]
    good = _number(original["figures"].get(metric, 0))
    sign = -1 if "loss" in metric else 1
    found: dict[str, float] = {}
    for one in tree["variants"]:
        if sign * _number(one["figures"].get(metric, 0)) < sign * good:
            continue
        costs = {"deploy/bytes": _number(one["nbytes"]), "deploy/macs": _number(one["macs"])}
        for size in BATCHES:
            if latency := one["latency"].get(str(size)) or one["latency"].get(size):
                costs[f"deploy/latency_{size}"] = 1 / _number(latency["speed"], 1e-9)
        found = {
            name: min(cost, found.get(name, cost)) for name, cost in {**found, **costs}.items()
        }
    return found


def known_costs(figures: Mapping[str, Any]) -> dict[str, float]:
    """The costs among a run's figures on W&B; what is no number is none.

    >>> known_costs({"deploy/bytes": 100, "deploy/macs": "many", "test/loss": 1})
    {'deploy/bytes': 100}
    """
    return {name: figures[name] for name in COSTS if is_number(figures.get(name), 0)}


def _number(value: Any, low: float = 0) -> float:
    if not is_number(value, low, 2.0**63):
        raise ValueError(f"a figure must be a number from {low:g} up, but is {value!r:.40}")
    return float(value)


def _times(before: float, after: float) -> str:
    return f"{before / after:.1f}×" if after else "–"
