"""Attributes: whole numbers of modules that may have to follow what went."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l1prune.deploy.attributes import Attribute, alternatives, assign, restore
from l1prune.deploy.graph import trace
from l1prune.deploy.inputs import arguments
from l1prune.deploy.liveness import analyse


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.copy, self.three, self.flag = 8, 8, 3, True
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())  # type: ignore[no-any-return]


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.one, self.other = Inner(), Inner()

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.other(x)  # type: ignore[no-any-return]


def test_those_that_equal_a_size_that_went_are_tried_few_and_inner_ones_first() -> None:
    model = Outer().eval()
    liveness = analyse(trace(model, arguments(torch.ones(2, 3))))
    gone = torch.zeros(liveness.scene.units.count, dtype=torch.bool)
    gone[liveness.scene.units.of("one.first.weight", 0)[:3]] = True
    assign(model.one.first, [Attribute("", "out_features", 8, 5)])
    assign(model.one.second, [Attribute("", "in_features", 8, 5)])
    tried = [
        [str(one) for one in some]
        for some in alternatives(model, liveness, liveness.couplings.spread(gone))
    ]
    hidden, copy, width = "one.hidden: 8 → 5", "one.copy: 8 → 5", "width: 8 → 5"
    assert tried == [
        *([hidden], [copy], [width]),
        *([hidden, copy], [hidden, width], [copy, width], [hidden, copy, width]),
    ]


def test_what_is_assigned_is_restored() -> None:
    model = Outer()
    some = [Attribute("one", "hidden", 8, 5), Attribute("", "width", 8, 4)]
    assign(model, some)
    assert (model.one.hidden, model.width, model.other.hidden) == (5, 4, 8)
    restore(model, some)
    assert (model.one.hidden, model.width) == (8, 8)
