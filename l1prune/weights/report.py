"""What is left: exact counts of the stored model."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from l1prune.weights.shards import count_nonzero
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
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "─" * max(map(len, lines))
        lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        times = f"{self.compression:.1f}× fewer" if self.nonzero else "nothing left"
        if self.nonzero == self.prunable:
            times = "none removed"
        by = f" by {self.criterion}" if self.criterion and self.nonzero < self.prunable else ""
        lines.append(f"{times}{by}; {self.total:,} parameters in all")
        return "\n".join(lines)


def read_layers(path: str | Path) -> tuple[Layer, ...]:
    """Read what `SparsityReport.to_csv` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return tuple(
                Layer(
                    row["name"],
                    tuple(int(size) for size in row["shape"].split("x") if size),
                    int(row["total"]),
                    int(row["nonzero"]),
                )
                for row in csv.DictReader(file)
            )
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not a table of layers ({error!r})") from error


def _layer(target: Target, nonzero: int) -> Layer:
    w = target.parameter
    return Layer(target.name, tuple(w.shape), w.numel(), nonzero)


def _row(
    name: str, shape: str, total: int, nonzero: int, sparsity: float
) -> tuple[str, str, str, str, str]:
    return (name, shape, f"{total:,}", f"{nonzero:,}", f"{100 * sparsity:.2f} %")
