"""Saliency: how much a weight matters, by its size and by how the loss holds on to it.

Source: LeCun, Denker & Solla, "Optimal brain damage", NeurIPS 1989: removing weight w costs about
h·w²/2, with h the curvature of the loss. The mean of the squared gradients, f, stands in for h (see
`l1prune.cuts.fisher`). It is a mean of few, and a poor one for a single weight: its logarithm is
drawn towards that of its layer, as is done with variances of few samples (James & Stein, 1961; Cui
et al., "Improved statistical tests … by shrinking variance components estimates", 2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.checks import is_number
from l1prune.cuts.criteria import FollowingCriterion, Size
from l1prune.cuts.fisher import Fishers, packed, unpacked
from l1prune.cuts.moments import Moments, moments, moved
from l1prune.cuts.ranks import by_rank
from l1prune.cuts.renewal import Layer, sums, weighed
from l1prune.cuts.scopes import LAMP, Global, Scope
from l1prune.pressure.gradients import Gradients
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target
from l1prune.weights.warning import warn

SHRINKAGE = 0.5
"""How far what is known of one weight's gradients goes towards what is usual in its layer."""


class Saliency(FollowingCriterion):
    """A weight is worth what the loss would lose with it: |w|·√f, with f drawn to its layer's.

    f is the mean of the squared gradients of the steps since the last cut, each cut before it
    counting half as much as the one after; it is taken from what Adam, AdamW, NAdam, RAdam, RMSprop
    and Adagrad sum up. Adamax and Adafactor tell by what they divide. For SGD and all others, whose
    memory tells nothing of it, squares are summed up here while `follow` is entered, in two floats
    for each weight. Between layers, the means of the last gradients tell how large they are now.
    Nothing changes when a layer is scaled and the one after it scaled back, so layers compare as
    they are.

    Few gradients say little of one weight and much of a layer. So log f is shrunk towards that of
    its layer: within a layer weights compare by |w|·(√f + ε)^(1 − `shrinkage`), and between layers
    the sum of all f counts as before.

    Saliency foretells what removing one weight costs. What a layer costs as a whole it
    underestimates: the fewer weights a branch beside a skip has left, the less the loss holds on to
    them, until it is gone. So each layer keeps a share of what its shape asks for.

    Args:
        least: that share, in [0, 1]; see `l1prune.cuts.scopes.densities`.
        shrinkage: how far log f goes towards that of its layer, in [0, 1]: 0 takes f as it is; at 1
            the weights of a layer compare by size.

    Raises:
        ValueError: `least` or `shrinkage` is no share; when training starts: there is no optimizer.
    """

    def __init__(self, least: float = 0.6, shrinkage: float = SHRINKAGE) -> None:
        if not is_number(least, 0, 1):
            raise ValueError(
                f"least must be a share from 0 to 1 of what a layer's shape asks for, got {least!r}"
            )
        if not is_number(shrinkage, 0, 1):
            raise ValueError(
                "shrinkage must be a share from 0 to 1 of the way to what is usual in a layer, got "
                f"{shrinkage!r}"
            )
        self.least, self.shrinkage = least, shrinkage
        self._fishers: Fishers = {}
        self._packed: dict[str, dict[str, Any]] = {}
        self._gradients = Gradients()
        self._warned = False

    def __repr__(self) -> str:
        return f"Saliency(least={self.least}, shrinkage={self.shrinkage})"

    @property
    def scope(self) -> Scope:
        return Global(self.least)

    def check(self, optimizers: Sequence[Optimizer]) -> None:
        if not optimizers:
            raise ValueError(
                f"criterion={self!r} goes by the gradients of the steps that an optimizer takes, "
                "and there is none; return one from configure_optimizers, or give criterion=Size()"
            )

    def follow(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[None]:
        return self._gradients.follow(targets, optimizers)

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        # By its own: one derived from it may lend what it makes of this.
        with Saliency.lend(self, targets, optimizers) as worth:
            return [one.clone() for one in worth]

    @contextmanager
    def lend(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> Iterator[list[Tensor]]:
        self._unpack(targets)
        memory = self._fishers, self._gradients
        with weights(targets, optimizers, *memory, self.shrinkage) as known:
            yield [known[t.name] for t in targets] if known else self._sizes(targets, optimizers)

    def _sizes(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        """What is left to go by where no step is known, compared as sizes compare best."""
        self._warn(targets, optimizers)
        sizes = Size().weigh(targets, optimizers)
        return [LAMP().comparable(size.abs()) for size in sizes]

    def _warn(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> None:
        """Say once that steps have been taken whose gradients nobody has seen."""
        found = moved(targets, optimizers)
        names = {type(one.optimizer).__name__ for one in found if one.has_stepped}
        if names and not self._warned:
            self._warned = True
            warn(
                f"criterion: the gradients of the steps of {', '.join(sorted(names))} were not "
                "seen, so weights compare by their sizes; have it step by its method step, or give "
                "criterion=Size()"
            )

    def state_dict(self) -> dict[str, Any]:
        fishers = {**self._packed, **packed(self._fishers)}
        return {"fishers": fishers, "gradients": self._gradients.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._packed = state["fishers"]
        self._gradients.load_state_dict(state["gradients"])

    def _unpack(self, targets: Sequence[Target]) -> None:
        self._fishers.update(unpacked(self._packed, targets))
        self._packed = {n: one for n, one in self._packed.items() if n not in self._fishers}


@contextmanager
def weights(
    targets: Sequence[Target],
    optimizers: Sequence[Optimizer],
    fishers: Fishers | None = None,
    gradients: Gradients | None = None,
    shrinkage: float = SHRINKAGE,
) -> Iterator[dict[str, Tensor]]:
    """Weights, each times the root mean square of its gradients, shrunk: by name, until it is left.

    That is (√f + ε)^(1 − `shrinkage`), times its layer's `scales`. A layer without gradients has
    what weights of the same rank have in the others: see `by_rank`. Empty is the answer if nothing
    is known of any. Each lies in memory that may be written to, and holds sums again afterwards.

    Args:
        targets: the weights.
        optimizers: that move them.
        fishers: f by name at the last cut, to be renewed; where there is none, f is v̂.
        gradients: the moments of those whose optimizers tell none.
        shrinkage: in [0, 1]; 0 is √f + ε as it is.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.0)
    >>> layer(torch.tensor([1.0, 100.0])).sum().backward(); optimizer.step()
    >>> with weights([Target("weight", layer.weight)], [optimizer], shrinkage=0.0) as worth:
    ...     gradients = worth["weight"] / layer.weight
    >>> bool((gradients / gradients[0, 0]).allclose(torch.tensor([1.0, 100.0])))
    True
    """
    fishers = {} if fishers is None else fishers
    with torch.no_grad(), moments(targets, optimizers, fishers, gradients or Gradients()) as told:
        yield _weights(targets, told, 1 - shrinkage)


def _weights(
    targets: Sequence[Target], told: Mapping[str, Moments], exponent: float
) -> dict[str, Tensor]:
    known = [target for target in targets if target.name in told]
    if not known:
        return {}
    parameters = [target.parameter for target in known]
    layers = [Layer(local(t.parameter), told[t.name].long, told[t.name].short) for t in known]
    totals = over_shards(sums(layers, exponent), parameters).tolist()
    factors = [
        scale(long, short, before, after, told[target.name].memory)
        for target, (long, short, before, after) in zip(known, totals, strict=True)
    ]
    found = weighed(layers, exponent, factors)
    worth = {target.name: one for target, one in zip(known, found, strict=True)}
    rest = [target for target in targets if target.name not in worth]
    return worth | by_rank(rest, known, found)


def scale(long: float, short: float, before: float, after: float, memory: float) -> float:
    """By how much a layer's shrunk roots are to be larger, to say what its gradients are now.

    Whatever shrinkage did to them, their sum of squares over the weights that are left becomes that
    of √f + ε, and more where gradients have grown. In a network that is being pruned some layers
    become bottlenecks, whose gradients grow from one cut to the next. m remembers ten steps. Over a
    whole layer its mean square tells how large they are now: mean-free gradients of variance σ²
    leave in m one of σ²·(1 − β)/(1 + β).

    Args:
        long: Σ(√f + ε)² over the layer.
        short: Σm².
        before: Σ(√f + ε)² over what is left of it.
        after: the same, shrunk.
        memory: β.

    >>> round(scale(long=1.0, short=9 * 0.1 / 1.9, before=1.0, after=1.0, memory=0.9), 9)
    3.0
    >>> scale(long=1.0, short=1.0, before=1.0, after=4.0, memory=0.0)
    0.5
    """
    grown = short / max(long, 1e-300) * (1 + memory) / (1 - memory)
    # A layer without any gradient now keeps an order among its weights.
    return float((max(grown, 1e-6) * max(before, 1e-300) / max(after, 1e-300)) ** 0.5)
