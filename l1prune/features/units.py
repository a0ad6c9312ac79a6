"""Features as the units of a cut: what they are worth, and what stays of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from l1prune.cuts.thresholds import Threshold
from l1prune.cuts.units import Units
from l1prune.features.entries import Entries
from l1prune.features.places import Place
from l1prune.weights.shards import local
from l1prune.weights.targets import Target


class FeatureUnits(Units):
    """Features, each of which counts as one, however many weights it has.

    So `Sparsity(0.9)` leaves a tenth of the features.

    Args:
        entries: knows which weights they are.
        places: where they enter.
        targets: the weights that may be cut.
    """

    def __init__(
        self, entries: Entries, places: Sequence[Place], targets: Sequence[Target]
    ) -> None:
        numbers = {id(place.weight): number for number, place in enumerate(places)}
        self._entries, self._targets = entries, targets
        self._numbers = [numbers[id(target.parameter)] for target in targets]

    def check(self, threshold: Any) -> None:
        threshold.check([self._entries.count], [1])

    def scores(self, worth: Sequence[Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        found = self._entries.worths(self._numbers, [one.detach() for one in worth])
        known = [at for at, target in enumerate(self._targets) if target.name in masks]
        if known:
            numbers = [self._numbers[at] for at in known]
            left = [local(masks[self._targets[at].name]).float() for at in known]
            there = self._entries.sums(numbers, [torch.ones_like(one) for one in left])
            found[(self._entries.sums(numbers, left) == 0) & (there > 0)] = -1.0
        return [found]

    def keep(self, threshold: Threshold, scores: list[Tensor], progress: float) -> list[Tensor]:
        (stays,) = threshold.keep(scores, [1], progress)
        return [
            self._entries.spread(number, stays, target.parameter)
            .expand_as(target.parameter)
            .contiguous()
            for number, target in zip(self._numbers, self._targets, strict=True)
        ]
