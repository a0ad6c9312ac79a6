"""What is left: exact counts of the stored model."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from l1prune.weights.counted import counted
from l1prune.weights.shards import count_nonzero
from l1prune.weights.table import aligned
from l1prune.weights.targets import NOT_CHOSEN, Target, Targets
from l1prune.words import beginning

WIDTH = 36
"""Characters of a reason in the table; `skipped` has all of them."""

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
class Skipped:
    """A parameter that is not prunable: its name, how many entries it has, and why."""

    name: str
    total: int
    reason: str


@dataclass(frozen=True)
class SparsityReport:
    """Counts of one model at one moment, tied weights once.

    Prunable weights stand beside all parameters: where most of a model is an embedding, to keep a
    twentieth of the former is far from keeping a twentieth of the model.

    Attributes:
        layers: the prunable weights, in the model's order.
        total: all parameters of the model, prunable or not.
        others: those that are not prunable.
        criterion: what the weights were weighed by; empty where nothing was cut.
        kernel: what pressed and held them: C, Triton, foreach or eager torch; empty where unknown.

    >>> layer = nn.Linear(4, 2)
    >>> _ = layer.weight.data.fill_(1.0)[0].zero_()
    >>> report = SparsityReport.of(layer)
    >>> report.nonzero, report.prunable, report.sparsity, report.compression
    (4, 8, 0.5, 2.0)
    >>> report.left, report.total, round(report.total_compression, 2), report.skipped
    (6, 10, 1.67, {'bias': 'bias or scale'})
    """

    layers: tuple[Layer, ...]
    total: int
    others: tuple[Skipped, ...] = ()
    criterion: str = ""
    kernel: str = ""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        targets: Sequence[Target] | None = None,
        criterion: str = "",
        kernel: str = "",
    ) -> SparsityReport:
        """Count the model as it is now, by default all that could be pruned or is under a mask."""
        targets = counted(model) if targets is None else targets
        skipped = targets.skipped if isinstance(targets, Targets) else {}
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        others = tuple(Skipped(n, sizes.get(n, 0), reason) for n, reason in skipped.items())
        counts = count_nonzero([target.parameter for target in targets])
        layers = (_layer(target, count) for target, count in zip(targets, counts, strict=True))
        return cls(tuple(layers), sum(sizes.values()), others, criterion, kernel)

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
    def left(self) -> int:
        """All parameters but the prunable weights that are exactly zero."""
        return self.total - self.prunable + self.nonzero

    @property
    def total_compression(self) -> float:
        """total/left, infinite when nothing is left."""
        return self.total / self.left if self.left else float("inf")

    @property
    def skipped(self) -> dict[str, str]:
        """Why each parameter that is not prunable is not, by its name."""
        return {one.name: one.reason for one in self.others}

    @property
    def starved(self) -> tuple[str, ...]:
        """The layers that have no more than a single weight left, of several."""
        return tuple(layer.name for layer in self.layers if layer.nonzero <= 1 < layer.total)

    def to_dict(self) -> dict[str, float]:
        """The figures of the whole model, by the names under which they are logged.

        `params/nonzero`, `sparsity` and `compression` are of the prunable weights, `params/left`
        and `total_compression` of all parameters.
        """
        return {
            "params/total": self.total,
            "params/left": self.left,
            "params/total_compression": self.total_compression,
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
        """A table a person can read: weights before and after, layer by layer, and in all."""
        rows = [("layer", "shape", "weights", "left", "zeros")]
        for layer in self.layers:
            shape = "×".join(map(str, layer.shape))
            rows.append(_row(layer.name, shape, layer.total, layer.nonzero))
        what = "all chosen" if self._chosen else "all prunable"
        rows.append(_row(what, "", self.prunable, self.nonzero))
        for reason, group in self._groups():
            alone, total = f"{len(group)} left alone", _total(group)
            rows.append(_row(beginning(reason, WIDTH), alone, total, total))
        rows.append(_row("all parameters", "", self.total, self.left))
        lines = aligned(rows, left=2)
        rule, layers = "─" * max(map(len, lines)), len(self.layers) + 1
        lines = [lines[0], rule, *lines[1:layers], rule, *lines[layers:-1], rule, lines[-1]]
        return "\n".join([*lines, *self._conclusion()])

    @property
    def _chosen(self) -> bool:
        """Whether somebody has said which weights: what is left alone then is meant to be."""
        return any(one.reason == NOT_CHOSEN for one in self.others)

    def _groups(self) -> list[tuple[str, list[Skipped]]]:
        """What is not prunable by the reason, the largest first."""
        groups: dict[str, list[Skipped]] = {}
        for one in self.others:
            groups.setdefault(one.reason, []).append(one)
        return sorted(groups.items(), key=lambda group: -_total(group[1]))

    def _conclusion(self) -> Iterator[str]:
        """How much fewer they are, and whether most of the model was left alone."""
        if self.nonzero == self.prunable:
            yield "none removed"
        elif not self.nonzero:
            yield "nothing left of what is prunable"
        else:
            by = f" by {self.criterion}" if self.criterion else ""
            what = "of the chosen" if self._chosen else "prunable"
            yield (
                f"{self.compression:.1f}× fewer {what} weights{by}, "
                f"{self.total_compression:.1f}× fewer parameters in all"
            )
        if self.kernel:
            yield f"kernel of pressure and masks: {self.kernel}"
        alone = self.total - self.prunable
        if alone > self.prunable and not self._chosen:
            largest = max(self.others, key=lambda one: one.total, default=None)
            example = f", as {largest.name} ({largest.reason})" if largest else ""
            yield (
                f"most of the model was left alone, {alone:,} of {self.total:,} parameters{example}"
            )


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


def _row(name: str, shape: str, total: int, left: int) -> tuple[str, str, str, str, str]:
    zeros = f"{100 * (1 - left / total if total else 0.0):.2f} %"
    return (name, shape, f"{total:,}", f"{left:,}", zeros)


def _total(others: Iterable[Skipped]) -> int:
    return sum(one.total for one in others)
