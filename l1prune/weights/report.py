"""What is left: exact counts of the stored model."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from l1prune.weights.shards import count_nonzero
from l1prune.weights.table import aligned
from l1prune.weights.targets import Target, Targets, find_targets

COLUMNS = ("name", "shape", "total", "nonzero", "sparsity")


@dataclass(frozen=True)
class Layer:
    """One weight: its name and shape, how many entries it has and how many are not exactly zero."""

    name: str
    shape: tuple[int, ...]
    total: int
    nonzero: int

    @property
    def sparsity(self) -> float:
        """Share of exact zeros."""
        return 1 - self.nonzero / self.total if self.total else 0.0


@dataclass(frozen=True)
class SparsityReport:
    """Counts of one model at one moment, tied weights once.

    Attributes:
        layers: the prunable weights, in the model's order.
        total: all parameters of the model, prunable or not.
        skipped: why each other parameter is not prunable.
        criterion: what the weights were weighed by; empty where nothing was cut.

    >>> layer = nn.Linear(4, 2)
    >>> _ = layer.weight.data.fill_(1.0)[0].zero_()
    >>> report = SparsityReport.of(layer)
    >>> report.nonzero, report.prunable, report.total, report.sparsity, report.compression
    (4, 8, 10, 0.5, 2.0)
    """

    layers: tuple[Layer, ...]
    total: int
    skipped: dict[str, str] = field(default_factory=dict)
    criterion: str = ""

    @classmethod
    def of(
        cls, model: nn.Module, targets: Sequence[Target] | None = None, criterion: str = ""
    ) -> SparsityReport:
        """Count the model as it is now; the default targets are `find_targets(model)`."""
        targets = find_targets(model) if targets is None else targets
        skipped = dict(targets.skipped) if isinstance(targets, Targets) else {}
        total = sum(parameter.numel() for parameter in model.parameters())
        counts = count_nonzero([target.parameter for target in targets])
        layers = (_layer(target, count) for target, count in zip(targets, counts, strict=True))
        return cls(tuple(layers), total, skipped, criterion)

    @property
    def prunable(self) -> int:
        """Weights that could have been removed."""
        return sum(layer.total for layer in self.layers)

    @property
    def nonzero(self) -> int:
        """Prunable weights that are not exactly zero."""
        return sum(layer.nonzero for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """1 − nonzero/prunable."""
        return 1 - self.nonzero / self.prunable if self.prunable else 0.0

    @property
    def compression(self) -> float:
        """prunable/nonzero, infinite when nothing is left."""
        return self.prunable / self.nonzero if self.nonzero else float("inf")

    @property
    def starved(self) -> tuple[str, ...]:
        """The layers that have no more than a single weight left, of several."""
        return tuple(layer.name for layer in self.layers if layer.nonzero <= 1 < layer.total)

    def to_dict(self) -> dict[str, float]:
        """The figures of the whole model, by the names under which they are logged."""
        return {
            "params/total": self.total,
            "params/prunable": self.prunable,
            "params/nonzero": self.nonzero,
            "params/sparsity": self.sparsity,
            "params/compression": self.compression,
        }

    def to_csv(self, path: str | Path) -> None:
        """Write one line per layer, with a header."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for layer in self.layers:
                shape = "x".join(map(str, layer.shape))
                writer.writerow(
                    (layer.name, shape, layer.total, layer.nonzero, f"{layer.sparsity:.6f}")
                )

    def __str__(self) -> str:
        """A table a person can read: weights before and after, layer by layer."""
        rows = [("layer", "shape", "weights", "left", "zeros")]
        for layer in self.layers:
            shape = "×".join(map(str, layer.shape))
            rows.append(_row(layer.name, shape, layer.total, layer.nonzero, layer.sparsity))
        rows.append(_row("all prunable", "", self.prunable, self.nonzero, self.sparsity))
        lines = aligned(rows, left=2)
        rule = "─" * max(map(len, lines))
        lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        times = f"{self.compression:.1f}× fewer" if self.nonzero else "nothing left"
        if self.nonzero == self.prunable:
            times = "none removed"
        by = f" by {self.criterion}" if self.criterion and self.nonzero < self.prunable else ""
        lines.append(f"{times}{by}; {self.total:,} parameters in all")
        return "\n".join(lines)


def layers_of(rows: Iterable[Sequence[str]]) -> tuple[Layer, ...]:
    """The layers in the rows of a table that `SparsityReport.to_csv` wrote, the header first.

    Raises:
        ValueError: it is no such table, or no layer could have such counts.

    >>> layers_of([("name", "shape", "total", "nonzero"), ("a", "4x2", "8", "2")])
    (Layer(name='a', shape=(4, 2), total=8, nonzero=2),)
    """
    names, *others = [*rows] or [()]
    layers = []
    for row in others:
        cells = dict(zip(names, row, strict=True))
        try:
            shape = tuple(int(size) for size in cells["shape"].split("x") if size)
            layer = Layer(cells["name"], shape, int(cells["total"]), int(cells["nonzero"]))
        except KeyError as error:
            raise ValueError(f"no column is called {error}") from error
        if not 0 <= layer.nonzero <= layer.total < 2**63 or not all(0 <= n < 2**63 for n in shape):
            raise ValueError(f"no layer has {','.join(row[:4])}")
        layers.append(layer)
    return tuple(layers)


def _layer(target: Target, nonzero: int) -> Layer:
    w = target.parameter
    return Layer(target.name, tuple(w.shape), w.numel(), nonzero)


def _row(
    name: str, shape: str, total: int, nonzero: int, sparsity: float
) -> tuple[str, str, str, str, str]:
    return (name, shape, f"{total:,}", f"{nonzero:,}", f"{100 * sparsity:.2f} %")
