"""Deployment: what a network costs in each form that it was written in, in `deploy.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l1prune.deploy.latency import BATCHES, Latency
from l1prune.runs.costs import FILE, VERSION
from l1prune.runs.escapes import LINE, printable
from l1prune.runs.monitor import Monitor, settled
from l1prune.weights.files import write_whole
from l1prune.weights.table import aligned

PICTURE = "deploy.png"
TRAINED = "trained"
"""What the network is called that the run left, in full size, with its zeros."""
MEANING = """
trained: the network as the run left it, its zeros stored and multiplied like all else;
compact: without the units that do nothing; onnxruntime: the same network as a file of
ONNX, which stores no zeros, run by onnxruntime; batch: how many times faster than the
first row, by CPU time of one thread, side by side in one process; difference: the
largest from it, over its largest output, on random inputs"""


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
        judged: the figure that the run is judged by; None: the best that there is.
    """

    measurements: Sequence[Measurement]
    notes: Sequence[str]
    machine: Mapping[str, Any]
    judged: str | None = None

    @property
    def metric(self) -> str:
        """The figure that says how good a form is."""
        figures = self.measurements[0].figures
        return self.judged if self.judged and self.judged in figures else metric_of(figures)

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
        lines.append(MEANING)
        lines += [f"left out: {printable(note, LINE)}" for note in self.notes]
        return "\n".join(lines)

    def _row(self, one: Measurement, original: Measurement) -> tuple[str, ...]:
        speeds = (f"{one.latency[n].speed:.2f}×" if n in one.latency else "–" for n in BATCHES)
        return (
            one.name,
            f"{one.parameters:,} ({_times(original.parameters, one.parameters)})",
            _times(original.macs, one.macs),
            f"{one.nbytes:,} ({_times(original.nbytes, one.nbytes)})",
            *speeds,
            f"{one.relative:.0e}" if one.relative else "none",
            shown(self.metric, one.figures),
        )


def metric_of(figures: Mapping[str, Any]) -> str:
    """The figure that says how good a network is: an accuracy if there is one, a loss at last.

    >>> metric_of({"test/loss": 0.1, "test/accuracy": 0.9}), metric_of({"test/loss": 0.1})
    ('test/accuracy', 'test/loss')
    """
    try:
        return settled(figures).name
    except ValueError:
        return next(iter(figures), "")


def shown(metric: str, figures: Mapping[str, float]) -> str:
    """A figure for people: accuracies in percent.

    >>> shown("test/accuracy", {"test/accuracy": 0.975}), shown("test/loss", {"test/loss": 0.0312})
    ('97.50 %', '0.03120')
    """
    return Monitor(metric).shown(figures[metric]) if metric in figures else "–"


def _times(before: float, after: float) -> str:
    return f"{before / after:.1f}×" if after else "–"
