"""Where to cut."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scope_samples import SCOPES, layers
from torch import Tensor

from l1prune.cuts.scopes import Global, PerOutput, Scope
from l1prune.cuts.thresholds import Magnitude, Sparsity


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
