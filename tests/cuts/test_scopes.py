"""How layers compare."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scope_samples import layers

from l1prune.cuts.scopes import LAMP, Global, PerLayer, Relative, Scope
from l1prune.cuts.thresholds import Sparsity


@pytest.mark.parametrize("scope", [PerLayer(), Relative(), LAMP()], ids=str)
def test_a_layers_scale_does_not_matter(scope: Scope) -> None:
    scores = layers()
    scaled = [scores[0] * 1024, scores[1] / 4096, scores[2]]
    for a, b in zip(
        Sparsity(0.9, scope=scope).keep(scores, [1] * 3),
        Sparsity(0.9, scope=scope).keep(scaled, [1] * 3),
    ):
        assert torch.equal(a, b)


def test_per_layer_takes_the_same_share_of_each() -> None:
    for keep in Sparsity(0.9, scope=PerLayer()).keep(layers(), [1] * 3):
        assert keep.float().mean() == pytest.approx(0.1, abs=0.01)


def test_lamp_is_the_papers_formula() -> None:
    scores = layers()[0]
    made = LAMP().comparable(scores)
    flat = scores.double().square().flatten()
    for i in (0, 17, 600, int(flat.argmax())):
        assert made.flatten()[i].item() == pytest.approx(
            (flat[i] / flat[flat >= flat[i]].sum()).item()
        )


def test_by_saliency_every_layer_keeps_a_tenth_of_the_average() -> None:
    torch.manual_seed(0)
    scores = [torch.rand(400), 1e-6 * torch.rand(600)]
    kept = Sparsity(0.9, scope=Global(0.1)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in kept] == [94, 6]
    kept = Sparsity(0.9, scope=Global(least=0.0)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in kept] == [99, 1]
    few = Sparsity(0.997, scope=Global(least=1.0)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in few] == [2, 1]  # there is not enough for more


@pytest.mark.parametrize("least", [-0.1, 1.1, "much"])
def test_saliency_refuses_what_is_no_share(least: Any) -> None:
    with pytest.raises(ValueError, match="least must be a share"):
        Global(least)
