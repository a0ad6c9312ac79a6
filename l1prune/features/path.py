"""A path: one network under growing pressure on its features, from all of them to few or none.

Each λ goes on from the network of the one before, so that the whole path costs one training run.
The pressure is there from the first step on: a network that has memorised its rows by all columns
does not find back to the right ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from l1prune.checks import is_number, is_whole
from l1prune.features.order import Order
from l1prune.features.penalty import FeaturePenalty
from l1prune.features.rows import Rows
from l1prune.pressure.forms import Proximal
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets

Losses = Callable[[Tensor, Tensor], Tensor]
"""Of outputs and targets, the loss of each row."""


@dataclass(frozen=True)
class Recipe:
    """How a path is walked.

    In the Euclidean form a step of the optimizer moves a weight by about `lr` at most, and λ takes
    lr·λ back: whatever the data, λ = 0.01 is next to nothing, and 1 undoes any step.

    Args:
        epochs: validations on the path; a pass over the rows each, as far as `most_steps` allows.
        batches: how many steps make an epoch, if batches of no more than `largest_batch` do.
        largest_batch: rows.
        least_steps: of the whole path, however few the rows are.
        most_steps: of the whole path, however many the rows are.
        lr: Adam's learning rate.
        start: λ of the first step, from which it grows by the same factor in each.
        stop: λ of the last.
    """

    epochs: int = 60
    batches: int = 16
    largest_batch: int = 512
    least_steps: int = 600
    most_steps: int = 4000
    lr: float = 3e-3
    start: float = 0.1
    stop: float = 3.0

    def __post_init__(self) -> None:
        whole = ("epochs", "batches", "largest_batch", "least_steps", "most_steps")
        for name in (*whole, "lr", "start", "stop"):
            value = getattr(self, name)
            good = is_whole(value, 1) if name in whole else is_number(value, 0) and value > 0
            if not good:
                raise ValueError(f"Recipe({name}={value!r}): give a number > 0")

    def strength(self, progress: float) -> float:
        """λ, when so much of the path is behind.

        >>> [Recipe(start=0.01, stop=1.0).strength(p) for p in (0.0, 0.5, 1.0)]
        [0.01, 0.1, 1.0]
        """
        shrunk: float = (self.start / self.stop) ** (1 - progress)
        return self.stop * shrunk

    def batch_size(self, rows: int) -> int:
        """How many rows a step is of."""
        least = min(2, rows)  # of a single row there is no variance to normalise by
        return max(least, min(-(-rows // self.batches), self.largest_batch))

    def steps(self, rows: int) -> int:
        """How many steps the path has, a whole number for each epoch."""
        whole = self.epochs * -(-rows // self.batch_size(rows))
        return -(-min(max(whole, self.least_steps), self.most_steps) // self.epochs) * self.epochs


@dataclass(frozen=True, eq=False)
class PathPoint:
    """What a validation on the path found.

    Attributes:
        epoch: of its network, from 1 on.
        strength: λ by then.
        n_features: how many features are left.
        left: the numbers of those that have left since the point before.
        came_back: of those that have come back.
        loss: the mean loss of the validation rows.
        error: its standard error.
        sizes: of each feature, the root mean square of its weights; 0 of those that are gone.
        network: whose path it is, from 1 on, where several have one.
    """

    epoch: int
    strength: float
    n_features: int
    left: tuple[int, ...]
    came_back: tuple[int, ...]
    loss: float
    error: float
    sizes: Tensor
    network: int = 1

    def among(self, features: Tensor, count: int) -> PathPoint:
        """The same, where its features are some of `count`, by the numbers that these have."""
        return replace(
            self,
            left=tuple(features[[*self.left]].tolist()),
            came_back=tuple(features[[*self.came_back]].tolist()),
            sizes=_spread(self.sizes, features, count),
        )

    def row(self, names: Sequence[str]) -> dict[str, Any]:
        """What it says, in plain values, with the names of the features."""
        return {
            "network": self.network,
            "epoch": self.epoch,
            "strength": self.strength,
            "n_features": self.n_features,
            "left": [names[number] for number in self.left],
            "came_back": [names[number] for number in self.came_back],
            "loss": self.loss,
        }


@dataclass(frozen=True, eq=False)
class Path:
    """What a walk came to.

    Attributes:
        points: what was found on the way.
        ranked: the numbers of the features, those left by size, then the last to leave first.
        sizes: of each feature, the last at which it counted.
    """

    points: tuple[PathPoint, ...]
    ranked: Tensor
    sizes: Tensor

    def among(self, features: NDArray[np.int64], count: int) -> Path:
        """The same, where its features are some of `count`, by the numbers that these have."""
        numbers = torch.from_numpy(features)
        points = tuple(point.among(numbers, count) for point in self.points)
        return Path(points, numbers[self.ranked], _spread(self.sizes, numbers, count))

    @property
    def best(self) -> PathPoint:
        """The point of the least validation loss; of equals the last."""
        return min(reversed(self.points), key=lambda point: point.loss)

    @property
    def smallest(self) -> PathPoint:
        """The point of the fewest features within one standard error of the least loss.

        Source: Breiman et al., "Classification and regression trees", 1984, 3.4.3.
        """
        most = self.best.loss + self.best.error
        near = (point for point in reversed(self.points) if point.loss <= most)
        return min((p for p in near if p.n_features), key=lambda p: p.n_features, default=self.best)


def walk(  # noqa: PLR0913  # each is of another kind
    model: nn.Module,
    losses: Losses,
    train: Rows,
    check: Rows,
    penalty: FeaturePenalty,
    recipe: Recipe,
    generator: np.random.RandomState,
    until: int = 0,
    note: Callable[[PathPoint], None] | None = None,
) -> Path:
    """Train a network along the path.

    Args:
        model: from rows `(n, columns)` to outputs; trained in place.
        losses: of outputs and targets, for each row.
        train: rows to train on.
        check: rows to validate on.
        penalty: what presses.
        recipe: how.
        generator: draws the order of rows.
        until: how many features may be left for the walk to end.
        note: is told of each point.
    """
    joined = penalty.join(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
    targets = find_targets(model, joined.rules(None))
    pressure = Pressure(optimizer, targets, joined, strength=0.0, form=Proximal())
    order, points = Order(len(joined.sizes()), least=recipe.lr), list[PathPoint]()
    steps = recipe.steps(len(train))
    drawn = batches(len(train), recipe.batch_size(len(train)), generator)
    for step, rows in zip(range(steps), drawn, strict=False):
        pressure.strength = recipe.strength((step + 1) / steps)
        x, y = train.batch(rows)
        optimizer.zero_grad()
        torch.autograd.backward(losses(model(x), y).mean())
        optimizer.step()
        order.note(step, joined.sizes())
        if (step + 1) % (steps // recipe.epochs) == 0:
            found = validated(model, losses, check)
            points.append(_point(points, pressure.strength, order, joined.sizes(), found))
            if note is not None:
                note(points[-1])
            if points[-1].n_features <= until:
                break
    pressure.remove()
    return Path(tuple(points), order.ranked(), order.sizes)


def batches(rows: int, size: int, generator: np.random.RandomState) -> Iterator[NDArray[Any]]:
    """Rows in random order, pass after pass, without the few that make no whole batch."""
    while True:
        order = generator.permutation(rows)
        for at in range(0, rows - size + 1, size):
            yield order[at : at + size]


@torch.no_grad()
def validated(model: nn.Module, losses: Losses, rows: Rows) -> tuple[float, float]:
    """The mean loss of rows, and its standard error."""
    model.eval()
    each = torch.cat([losses(model(x), y) for x, y in rows.parts()]).double()
    model.train()
    error = float(each.std(correction=0)) / len(each) ** 0.5
    return float(each.mean()), error


def _spread(values: Tensor, features: Tensor, count: int) -> Tensor:
    """What is said of some of `count` features; of the others 0."""
    return values.new_zeros(count).index_copy_(0, features, values)


def _point(
    before: Sequence[PathPoint],
    strength: float,
    order: Order,
    sizes: Tensor,
    found: tuple[float, float],
) -> PathPoint:
    if not math.isfinite(found[0]):
        raise ValueError(
            f"network: its loss is {found[0]} in epoch {len(before) + 1} of the path; look at what "
            "it computes of columns of mean 0 and deviation 1, and at recipe.lr"
        )
    sizes = torch.where(order.there, sizes, 0.0)
    was = before[-1].sizes > 0 if before else torch.ones_like(order.there)
    return PathPoint(
        epoch=len(before) + 1,
        strength=strength,
        n_features=int(order.there.sum()),
        left=tuple((was & ~order.there).nonzero().flatten().tolist()),
        came_back=tuple((order.there & ~was).nonzero().flatten().tolist()),
        loss=found[0],
        error=found[1],
        sizes=sizes,
    )
