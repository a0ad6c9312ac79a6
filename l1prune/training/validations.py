"""Validations: what each validation of a fit came to, and the frontier through them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from l1prune.cuts.direction import VALIDATION

Point = tuple[int, dict[str, float]]
"""The weights left of a network, and its figures by name."""


class Validations:
    """What each validation came to: plain values, which a checkpoint holds.

    Attributes:
        rows: one for each: the weights left, whether the network was what the run is for so far
            (cut, and what its plan answers), and its figures by name.

    >>> validations = Validations()
    >>> validations.note(100, False, {"val/acc": 0.9})
    >>> validations.note(50, True, {"val/acc": 0.7, "train/loss": 0.1})
    >>> validations.note(50, True, {"val/acc": 0.8})
    >>> validations.extremes()
    {'val/acc': (0.7, 0.8)}
    >>> validations.frontier()
    [(50, {'val/acc': 0.8})]
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, bool, dict[str, float]]] = []

    def note(self, nonzero: int, arrived: bool, figures: Mapping[str, Any]) -> None:
        """Add one.

        Args:
            nonzero: the weights left.
            arrived: whether the network is what the run is for so far.
            figures: all that are known; those of validation are kept.
        """
        told = {name: float(value) for name, value in figures.items() if is_validation(name)}
        self.rows.append((nonzero, arrived, told))

    def extremes(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest of each figure, of the networks that have come to their size.

        Of several sizes it is the last, as the checkpoint that is kept as the best is.
        """
        arrived = [(nonzero, figures) for nonzero, came, figures in self.rows if came]
        found: dict[str, tuple[float, float]] = {}
        for nonzero, figures in arrived:
            for name, value in figures.items():
                if nonzero == arrived[-1][0] and not math.isnan(value):
                    low, high = found.get(name, (value, value))
                    found[name] = (min(low, value), max(high, value))
        return found

    def frontier(self) -> list[Point]:
        """The network that each size ended with: one point of a run, or one for each stage."""
        ends = {nonzero: figures for nonzero, arrived, figures in self.rows if arrived}
        return sorted(ends.items(), key=lambda point: -point[0])

    def trajectory(self, name: str) -> list[tuple[int, float]]:
        """The weights left and one figure, validation by validation."""
        return [(nonzero, figures[name]) for nonzero, _, figures in self.rows if name in figures]

    def state_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        return {"rows": [[nonzero, arrived, dict(told)] for nonzero, arrived, told in self.rows]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.rows = [(n, arrived, dict(told)) for n, arrived, told in state_dict["rows"]]


def is_validation(name: str) -> bool:
    """Whether a figure is of validation, by its name.

    >>> [is_validation(name) for name in ("val/loss", "val_acc", "valuable", "test/loss")]
    [True, True, False, False]
    """
    return bool(re.match(VALIDATION, name))
