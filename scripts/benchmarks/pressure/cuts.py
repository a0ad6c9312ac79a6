"""Cuts: what one round of a run's fifty takes, over a step of Adam on the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.measure import Contender, Row, Work, always, once_each, over, row_of
from benchmarks.pressure.fits import CUTS
from benchmarks.pressure.tasks import RATE
from benchmarks.scale import Scale
from l1prune import Pruning, find_targets
from l1prune.cuts.masks import hold_
from l1prune.training.cut import cut_
from l1prune.training.run import Run
from l1prune.training.steps import StepClock

STEPS = 3.0
"""Of Adam, that a cut may take."""


@dataclass(frozen=True)
class Layers:
    """Layers of a network of which nothing else counts.

    Attributes:
        count: how many.
        shape: of each one's weight.
    """

    count: int
    shape: tuple[int, int]

    def make(self) -> nn.Module:
        rows, columns = self.shape
        return nn.ModuleList(nn.Linear(columns, rows, bias=False) for _ in range(self.count))

    def __str__(self) -> str:
        weights = self.count * self.shape[0] * self.shape[1]
        return f"{weights:,} weights in {self.count:,} layers"


LAYERS: Mapping[str, Layers] = {
    "large": Layers(4, (5000, 5000)),
    "many": Layers(5000, (6, 10)),
}

FEW = Layers(4, (20, 20))


def cuts(layers: Layers, scale: Scale) -> Iterator[Row]:
    """A cut in the middle of a run, each after a step."""
    chosen = FEW if scale.quick else layers
    torch.manual_seed(0)
    with torch.device(scale.device):
        network = chosen.make()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    for weight in network.parameters():
        weight.grad = torch.randn_like(weight)
    due = Cut(network, optimizer)
    optimizer.step()
    due()  # the first is of a half, and the later ones add to it

    @contextmanager
    def cutting() -> Iterator[Work]:
        optimizer.step()
        yield due

    contenders: dict[str, Contender] = {
        "step": always(optimizer.step),
        "cut": cutting,
    }
    seconds = once_each(contenders, scale.device, scale.rounds)
    ratios = over(seconds, "cut", "step")
    yield row_of(f"cut of {chosen}, over a step of AdamW", "×", STEPS, ratios)


class Cut:
    """The cuts of a run by default, one after the other from its middle on."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        recipe = Pruning().recipe
        self._run = run = Run.of(recipe, StepClock())
        self._targets, self._optimizers = find_targets(network), [optimizer]
        small = run.strength.presses_small
        run.criterion.settle(recipe.plan, recipe.penalty, run.rounds, small, self._optimizers)
        self._penalty, self._done = recipe.penalty, CUTS // 2

    def __call__(self) -> None:
        cut_(
            self._run,
            self._penalty,
            self._targets,
            self._optimizers,
            min(self._done / CUTS, 1.0),
        )
        hold_(self._targets, self._run.masks)
        self._done += 1
