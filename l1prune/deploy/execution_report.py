"""The report of what runs sparse, by which kernel, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l1prune.weights.table import aligned


@dataclass(frozen=True)
class LayerExecution:
    """How one layer runs.

    Attributes:
        name: of the layer.
        zeros: the share of its weights that are zero.
        kernels: by the number of rows at which it was timed, which kernel runs it.
        speedups: by rows, how many times faster than dense that is.
    """

    name: str
    zeros: float
    kernels: Mapping[int, str]
    speedups: Mapping[int, float]


@dataclass(frozen=True)
class SparseReport:
    """How a model runs.

    Attributes:
        layers: those that run sparse, at some numbers of rows at least.
        left: why the others with matrices of weights run dense.
        speedups: by batch size, how many times faster than the dense model it is as a whole; none
            where all is dense.
        difference64: the largest relative difference of the two models in float64.
        difference: the same in the weights' own type.
        inputs: on how many inputs they were compared.
    """

    layers: tuple[LayerExecution, ...]
    left: Mapping[str, str]
    speedups: Mapping[int, float]
    difference64: float
    difference: float
    inputs: int

    def __str__(self) -> str:
        """A table a person can read."""
        batches = [f"{times:.2f} × at batch {batch}" for batch, times in self.speedups.items()]
        lines = [
            f"speed over the dense model: {', '.join(batches) or 'the same, all is dense'}; "
            f"largest relative difference {self.difference64:.1e} in float64, "
            f"{self.difference:.1e} as stored, on {self.inputs} inputs"
        ]
        if self.layers:
            rows: list[tuple[str, ...]] = [("layer", "kernel", "zeros", "rows", "speed")]
            rows += [row for layer in self.layers for row in _rows(layer)]
            lines += [f"  {line}" for line in aligned(rows, left=2)]
        lines += [f"  dense: {name or 'the model'}, {why}" for name, why in self.left.items()]
        return "\n".join(lines)


def _rows(layer: LayerExecution) -> list[tuple[str, ...]]:
    return [
        (
            layer.name or "the model",
            kernel,
            f"{100 * layer.zeros:.1f} %",
            f"{count:,}",
            f"{layer.speedups[count]:.2f} ×",
        )
        for count, kernel in layer.kernels.items()
    ]
