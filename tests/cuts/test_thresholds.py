"""Where to cut."""

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scope_samples import SCOPES, layers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from l1prune.cuts.scopes import LAMP, Global, PerLayer, PerOutput, Scope
from l1prune.cuts.thresholds import Magnitude, Sparsity
from l1prune.weights import blocks


def kept(keeps: list[Tensor]) -> int:
    return sum(int(keep.sum()) for keep in keeps)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@pytest.mark.parametrize("sparsity", [0.01, 0.5, 0.9, 0.985])
def test_exactly_the_asked_share_goes(scope: Scope, sparsity: float) -> None:
    scores = layers()
    total = sum(s.numel() for s in scores)
    keeps = Sparsity(sparsity, scope=scope).keep(scores, [1, 1, 1])
    assert total - kept(keeps) == math.ceil(sparsity * total)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_within_a_layer_what_stays_is_larger_than_what_goes(scope: Scope) -> None:
    if scope == PerOutput():
        pytest.skip("within an output, and not within a layer")
    for scores, keep in zip(layers(), Sparsity(0.8, scope=scope).keep(layers(), [1] * 3)):
        if keep.any() and not keep.all():
            assert scores[keep].min() >= scores[~keep].max()


def test_ties_are_broken_and_the_count_stays_exact() -> None:
    scores = [torch.ones(60), torch.zeros(40)]
    keeps = Sparsity(0.7, scope=Global()).keep(scores, [1, 1])
    assert kept(keeps) == 30
    assert int(keeps[1].sum()) == 1  # the floor


def test_what_is_removed_stays_removed() -> None:
    scores = layers()
    (gone, *_) = [s < s.median() for s in scores]
    scores[0] = scores[0].masked_fill(gone, -1.0)
    keeps = Sparsity(0.6).keep(scores, [1] * 3)
    assert not (keeps[0] & gone).any()
    assert kept(keeps) == 2000 - 1200


@given(st.integers(0, 2**31), st.floats(0.01, 0.99), st.sampled_from(SCOPES))
def test_no_layer_is_emptied(seed: int, sparsity: float, scope: Scope) -> None:
    torch.manual_seed(seed)
    scores = [10.0 ** -(3 * i) * torch.rand(50) for i in range(4)]
    keeps = (
        Sparsity(sparsity, scope=scope, floor=1).keep(scores, [1] * 4) if sparsity < 0.98 else []
    )
    assert all(keep.any() for keep in keeps)


def test_magnitude_cuts_below_and_keeps_a_floor() -> None:
    keep, small = Magnitude(0.5).keep(
        [torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.1, 0.2])], [1, 1]
    )
    assert keep.tolist() == [False, True, True]
    assert small.tolist() == [False, True]


def test_magnitude_zero_removes_the_exact_zeros_only() -> None:
    (keep,) = Magnitude(0.0).keep([torch.tensor([0.0, 1e-30, 1.0])], [1])
    assert keep.tolist() == [False, True, True]


def test_groups_count_by_their_weights_and_are_never_split() -> None:
    units = [torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([0.5, 4.0])]
    keeps = Sparsity(0.5, scope=Global(), floor=0).keep(units, [10, 1])
    assert keeps[0].flatten().tolist() == [True, False, False]
    assert keeps[1].tolist() == [False, True]


def test_rounds_follow_the_cubic_of_zhu_and_gupta() -> None:
    threshold = Sparsity(0.9)
    for progress in (0.25, 0.5, 0.75):
        assert threshold.share(progress) == pytest.approx(0.9 - 0.9 * (1 - progress) ** 3)
    assert threshold.share(1.0) == 0.9


@pytest.mark.parametrize("sparsity", [1.5, -0.1, 0.0, 1.0, float("nan")])
def test_impossible_sparsities_are_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match="sparsity must lie between 0 and 1"):
        Sparsity(sparsity)


@pytest.mark.parametrize("cut", [-1.0, float("nan"), float("inf")])
def test_impossible_magnitudes_are_refused(cut: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Magnitude(cut)


def test_a_sparsity_that_would_empty_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="lower the sparsity"):
        Sparsity(0.999).check([100, 100], [1, 1])


# ---- against the definition, layer by layer and with sorts


def largest_by_sorting(ranks: list[Tensor], sizes: list[int], room: int) -> list[Tensor]:
    flat = torch.cat([rank.flatten() for rank in ranks])
    size = torch.cat([torch.full((rank.numel(),), s) for rank, s in zip(ranks, sizes)])
    order = flat.argsort(stable=True)
    mask = torch.empty_like(flat, dtype=torch.bool)
    mask[order] = size[order].flip(0).cumsum(0).flip(0) <= room
    parts = mask.split([rank.numel() for rank in ranks])
    return [part.view_as(rank) for part, rank in zip(parts, ranks)]


def lamp_by_definition(scores: Tensor) -> Tensor:
    flat = scores.flatten().clamp(min=0).double()
    squares, order = flat.square().sort(stable=True)
    at_least_as_large = squares.flip(0).cumsum(0).flip(0)
    lamp = torch.zeros_like(squares)
    lamp[order] = squares / at_least_as_large.clamp(min=torch.finfo(torch.float64).tiny)
    return lamp.view_as(scores)


def ranks_by_definition(scores: Tensor) -> Tensor:
    ranks = torch.empty(scores.numel(), dtype=torch.float64)
    count = torch.arange(1, scores.numel() + 1, dtype=torch.float64)
    ranks[scores.flatten().argsort(stable=True)] = count
    return (ranks / scores.numel()).view_as(scores)


DEFINED: dict[Any, Any] = {LAMP(): lamp_by_definition, PerLayer(): ranks_by_definition}
SHAPES = [(3, 4), (3, 4), (2, 5), (4, 2, 1, 2), (7, 1), (1, 1)]
often = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@st.composite
def networks(draw: Any) -> tuple[list[Tensor], list[int]]:
    """Layers with ties, of very different sizes, from which something was removed before."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    kinds, gone = draw(st.sampled_from([2, 10, 2**20])), draw(st.sampled_from([0.0, 0.4, 0.95]))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=6))
    scores = []
    for number, shape in enumerate(shapes):
        layer = torch.randint(0, kinds, shape, generator=generator).double() / kinds
        layer[torch.rand(shape, generator=generator) < gone] = -1.0
        scores.append(torch.where(layer > 0, layer * 10.0 ** (number % 3), layer).to(dtype))
    sizes = draw(st.lists(st.integers(1, 4), min_size=len(shapes), max_size=len(shapes)))
    return scores, sizes if draw(st.booleans()) else [1] * len(shapes)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@pytest.mark.parametrize("small", [0, 2**14])
@often
@given(networks(), st.floats(0.05, 0.97), st.integers(0, 4))
def test_what_stays_is_what_the_definition_says(
    scope: Scope, small: int, network: Any, sparsity: float, floor: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SMALL", small)
        scores, sizes = network
        threshold = Sparsity(sparsity, scope=scope, floor=floor)
        counts = [layer.numel() for layer in scores]
        room = threshold._spare(counts, sizes, 1.0)
        comparable = DEFINED.get(scope, scope.comparable)
        ranks = []
        floors = threshold._floors([tuple(layer.shape) for layer in scores], sizes, room)
        for layer, least in zip(scores, floors):
            alive = layer.double().clamp(min=-1)
            (first,) = largest_by_sorting([alive], [1], least)
            rank = comparable(layer).double().masked_fill(layer < 0, -1.0)
            ranks.append(rank.masked_fill(first, math.inf))
        sure = sum(min(*pair) * size for *pair, size in zip(floors, counts, sizes))
        expected = largest_by_sorting(ranks, sizes, max(room, sure))
        for ours, theirs in zip(threshold.keep(scores, sizes), expected):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("scope", DEFINED, ids=str)
@often
@given(networks())
def test_layers_in_rows_are_worth_what_they_are_worth_one_by_one(
    scope: Scope, network: Any
) -> None:
    scores, _ = network
    together = scope.comparables([*scores, *scores])
    for ours, again, layer in zip(together, together[len(scores) :], scores):
        assert torch.equal(ours, again)
        assert torch.equal(ours, scope.comparable(layer))
        assert torch.equal(ours, DEFINED[scope](layer))


def test_a_floor_that_takes_from_others_gives_them_theirs() -> None:
    """What the first layer is given leaves the second with less, and so on."""
    torch.manual_seed(0)
    scores = [10.0**-number * torch.rand(100) for number in range(6)]
    keeps = Sparsity(0.9, scope=Global(1.0), floor=1).keep(scores, [1] * 6)
    assert [int(keep.sum()) for keep in keeps] == [10] * 6
    for layer, keep in zip(scores, keeps):
        assert layer[keep].min() >= layer[~keep].max()


class Counting(TorchDispatchMode):
    """Counts the operations of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("scope", [LAMP(), Global(0.1)], ids=str)
def test_a_small_layer_costs_a_few_operations(scope: Scope) -> None:
    counts = []
    for count in (500, 1000):
        torch.manual_seed(0)
        scores = [torch.rand(8, 8) for _ in range(count)]
        with Counting() as counting:
            Sparsity(0.9, scope=scope).keep(scores, [1] * count)
        counts.append(counting.count)
    few, many = counts
    assert (many - few) / 500 < 20


def test_floors_that_do_not_fit_shrink_together() -> None:
    # Of 13 weights each layer asks for half, in units of 3, rounded up: more than there are.
    threshold, sizes = Sparsity(0.9, scope=Global(least=1.0), floor=2), [3, 3]
    floors = threshold._floors([(5, 3), (3, 5)], sizes, 13)
    assert 6 <= sum(floor * 3 for floor in floors) <= 13 and min(floors) >= 2
    assert threshold._floors([(1,), (1,)], [1, 1], 0) == [2, 2]  # where even the least is too much


@pytest.mark.parametrize("scope", [LAMP(), Global(), PerLayer()], ids=str)
def test_a_floor_holds_whatever_is_asked_for(scope: Scope) -> None:
    torch.manual_seed(0)
    keeps = Sparsity(0.999, scope=scope, floor=2).keep([torch.rand(9), torch.rand(7)], [1, 1])
    assert [int(keep.sum()) for keep in keeps] == [2, 2]
