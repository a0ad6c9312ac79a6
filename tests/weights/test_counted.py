"""Weights that a report counts, whoever pruned them."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import prune

from l1prune.weights.counted import counted


def test_of_one_under_a_mask_of_torch_what_is_under_it_counts() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    prune.l1_unstructured(model[0], "weight", amount=5)
    prune.l1_unstructured(model[0], "bias", amount=1)
    found = counted(model)
    counts = {target.name: int(target.parameter.count_nonzero()) for target in found}
    assert counts == {"1.weight": 6, "0.weight": 7}
    assert set(found.skipped) == {"0.bias_orig", "1.bias"}
    prune.remove(model[0], "weight")
    assert [target.name for target in counted(model)] == ["0.weight", "1.weight"]


def test_where_there_is_none_there_are_none() -> None:
    assert not counted(nn.LayerNorm(3)) and not counted(nn.ReLU())
    assert counted(nn.LayerNorm(3)).skipped["weight"] == "normalisation"
