"""Choices: which kernel runs one layer, at which numbers of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from statistics import median

import torch
from torch import Tensor, nn

from l1prune.deploy.candidates import Candidate
from l1prune.deploy.graph import first_line
from l1prune.deploy.switch import Switch, frozen
from l1prune.deploy.timing import Timer, speedup

MARGIN = 0.05  # by so much a sparse kernel has to be faster than dense, half of the time


@dataclass(frozen=True, eq=False)
class Choice:
    """What is best at one number of rows.

    Args:
        name: of the kernel, or ``"dense"``.
        form: what the kernel has built, or the layer as it is.
        speedup: of the fastest kernel over dense, be it taken or not.
        saved: seconds of one call.
    """

    name: str
    form: nn.Module
    speedup: float
    saved: float

    def undone(self, layer: nn.Module) -> Choice:
        """The layer as it is, after all."""
        return Choice("dense", layer, self.speedup, 0.0)


class Contest:
    """The forms of one layer, timed against each other.

    Attributes:
        choices: the best form by the number of rows.
        channels: how many numbers a row has.
        failures: what kernels that fail on the layer say.
    """

    def __init__(self, candidate: Candidate, timer: Timer) -> None:
        self._candidate, self._timer = candidate, timer
        self._forms: dict[str, nn.Module] | None = None
        self.choices: dict[int, Choice] = {}
        self.channels = 0
        self.failures: list[str] = []

    def enter(self, inputs: Mapping[int, Tensor]) -> None:
        """Time all forms with inputs by their numbers of rows, unless those were there before."""
        for rows, x in inputs.items():
            self.channels = x.numel() // rows
            if rows not in self.choices:
                with torch.no_grad():
                    self._forms = self._built(x) if self._forms is None else self._forms
                    if self._forms:
                        self.choices[rows] = self._fastest(self._forms, x)

    def _built(self, x: Tensor) -> dict[str, nn.Module]:
        forms = {}
        for kernel in self._candidate.kernels:
            name = type(kernel).__name__
            try:
                form = kernel.build(self._candidate.layer).eval()
                form(x)
            except Exception as error:  # as 2:4 units refuse some shapes
                self.failures.append(f"{name} fails: {first_line(error)}")
            else:
                forms[name] = form
        return forms

    def _fastest(self, forms: Mapping[str, nn.Module], x: Tensor) -> Choice:
        layer = self._candidate.layer
        dense, *others = self._timer([partial(form, x) for form in (layer, *forms.values())])
        speedups = {name: speedup(dense, one) for name, one in zip(forms, others, strict=True)}
        best = max(speedups, key=lambda name: speedups[name].median)
        times = speedups[best]
        if times.median < 1 + MARGIN or times.low < 1:
            return Choice("dense", layer, times.median, 0.0)
        return Choice(best, forms[best], times.median, median(dense) * (1 - 1 / times.median))


def joined(choices: Mapping[int, Choice], channels: int) -> nn.Module:
    """One module that runs a layer by what is best at several numbers of rows.

    Between two of them the nearer decides, as their ratios go.

    Args:
        choices: by the number of rows.
        channels: how many numbers a row has.

    >>> few, many = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> choices = {1: Choice("Csr", few, 2.0, 0.0), 64: Choice("Bag", many, 3.0, 0.0)}
    >>> joined(choices, 2).limits, joined({1: choices[1]}, 2) is few
    ([16], True)
    """
    runs = [list(run) for _, run in groupby(sorted(choices), lambda rows: choices[rows].form)]
    limits = [math.isqrt(before[-1] * after[0]) * channels for before, after in pairwise(runs)]
    chosen = [choices[run[0]] for run in runs]
    if not limits:
        return chosen[0].form
    return Switch([frozen(choice.form) for choice in chosen], limits)
