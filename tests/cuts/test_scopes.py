"""How layers compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scope_samples import SCOPES, layers
from torch import Tensor

from l1prune.cuts.scopes import LAMP, Global, PerLayer, PerOutput, Relative, Scope, densities
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


def test_every_layer_keeps_its_share_of_what_its_shape_asks_for_as_far_as_there_is_enough() -> None:
    torch.manual_seed(0)
    scores = [torch.rand(10, 40), 1e-6 * torch.rand(20, 30)]  # both ask for half of what is left
    kept = Sparsity(0.9, scope=Global(0.1)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in kept] == [95, 5]
    kept = Sparsity(0.9, scope=Global(least=0.0)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in kept] == [99, 1]
    few = Sparsity(0.997, scope=Global(least=1.0)).keep(scores, [1, 1])
    assert [int(mask.sum()) for mask in few] == [2, 1]  # there is not enough for more


@st.composite
def rooms(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], int]:
    shapes = draw(st.lists(st.lists(st.integers(1, 20), max_size=3).map(tuple), min_size=1))
    return shapes, draw(st.integers(0, sum(map(math.prod, shapes))))


@given(rooms())
def test_the_densities_that_shapes_ask_for_use_up_all_the_room(
    given: tuple[list[tuple[int, ...]], int],
) -> None:
    shapes, room = given
    found = densities(shapes, room)
    assert all(0 <= density <= 1 for density in found)
    kept = [density * math.prod(shape) for density, shape in zip(found, shapes)]
    assert sum(kept) == pytest.approx(room)
    asked = [max(sum(n for n in shape if n > 1), 1) for shape in shapes]
    shares = [k / a for k, a, density in zip(kept, asked, found) if density < 1]
    assert shares == pytest.approx([max(shares, default=0)] * len(shares))


def test_a_small_layer_is_kept_whole_where_large_ones_are_thinned() -> None:
    depthwise, pointwise = densities([(32, 1, 3, 3), (256, 32, 1, 1)], room=2000)
    assert depthwise > 3 * pointwise


@pytest.mark.parametrize("least", [-0.1, 1.1, "much"])
def test_global_refuses_what_is_no_share(least: Any) -> None:
    with pytest.raises(ValueError, match="least must be a share"):
        Global(least)


SHAPES = [(), (5,), (4, 6), (3, 4, 2, 2), (0, 3), (3, 0)]


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_of_any_shape_keep_it(scope: Scope, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made = scope.comparable(torch.rand(shape))
    assert made.shape == shape and bool(made.isfinite().all())


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@given(st.lists(st.integers(0, 50), min_size=6, max_size=6, unique=True), st.floats(1e-6, 1e6))
def test_the_order_within_a_layer_stays(scope: Scope, scores: list[int], scale: float) -> None:
    layer = scale * torch.tensor(scores, dtype=torch.float64).view(2, 3)
    made = scope.comparable(layer)
    for before, after in zip(layer, made) if scope == PerOutput() else [(layer, made)]:
        assert torch.equal(before.flatten().argsort(), after.flatten().argsort())


def test_every_output_loses_the_same_share() -> None:
    torch.manual_seed(0)
    scores = [torch.rand(8, 20) * 10.0 ** torch.arange(8).view(-1, 1), torch.rand(4, 10)]
    for keep in Sparsity(0.7, scope=PerOutput()).keep(scores, [1, 1]):
        assert keep.float().mean(1).tolist() == pytest.approx([0.3] * len(keep))


class Halves(Scope):
    """Of the user's own: the second layer's scores count half; each layer keeps two units."""

    def comparable(self, scores: Tensor) -> Tensor:
        return scores / 2 if len(scores) == 3 else scores

    def floors(self, shapes: Sequence[Sequence[int]], sizes: Sequence[int], room: int) -> list[int]:
        return [2] * len(shapes)


def test_a_scope_of_the_users_own_decides_how_layers_compare() -> None:
    scores = [torch.tensor([1.0, 1.1, 1.2, 1.3]), torch.tensor([2.1, 2.3, 2.5])]
    first, second = Sparsity(0.3, scope=Halves()).keep(scores, [1, 1])
    assert first.tolist() == [False, False, True, True]
    assert second.tolist() == [False, True, True]
