"""N of every M: exactly, along the inputs, whatever the rounds before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import Task, examples, fit
from torch import Tensor, nn

from l1prune import GroupL1, L1Pruning, SemiStructured, Sparsity, find_targets, rounds
from l1prune.cuts.criteria import Criterion, Size
from l1prune.cuts.wanda import Wanda

PATTERNS = st.sampled_from([(2, 4), (1, 2), (1, 4), (3, 4), (4, 8)])
SHAPES = st.sampled_from([(3, 8), (1, 16), (5, 8, 3, 3), (2, 8, 3)])
PROGRESS = st.lists(st.floats(0.001, 0.999), max_size=4)


def blocks(mask: Tensor, m: int) -> Tensor:
    """How many stay of each M consecutive inputs."""
    return mask.movedim(1, -1).reshape(-1, m).sum(1)


def gone(mask: Tensor) -> int:
    return int((~mask).sum())


@given(PATTERNS, SHAPES, PROGRESS, st.integers(0, 2**31), st.booleans())
def test_whatever_the_rounds_before_the_last_leaves_n_of_every_m(
    pattern: tuple[int, int],
    shape: tuple[int, ...],
    before: list[float],
    seed: int,
    with_ties: bool,
) -> None:
    threshold, (n, m) = SemiStructured(*pattern), pattern
    source = torch.Generator().manual_seed(seed)
    removed = torch.zeros(shape, dtype=torch.bool)
    for progress in [*sorted(before), 1.0]:
        scores = torch.rand(shape, generator=source)  # weights grow and shrink between rounds
        if with_ties:
            scores = (2 * scores).round()
        (keep,) = threshold.keep([scores.masked_fill(removed, -1.0)], [1], progress)
        assert not (keep & removed).any()
        share = threshold.share(progress)
        assert share is not None and 0 <= gone(keep) - share * keep.numel() < 1 + 1e-6
        assert blocks(keep, m).min() >= n
        removed = ~keep
    assert (blocks(~removed, m) == n).all()


@given(PATTERNS, st.integers(0, 2**31))
def test_of_each_block_the_most_worth_stay(pattern: tuple[int, int], seed: int) -> None:
    n, m = pattern
    scores = torch.rand(4, 3 * m, generator=torch.Generator().manual_seed(seed))
    (keep,) = SemiStructured(n, m).keep([scores], [1])
    rows = scores.view(-1, m)
    stays = keep.view(-1, m).nonzero()[:, 1].view(-1, n)
    assert torch.equal(stays, rows.topk(n).indices.sort(1).values)


def test_in_a_round_the_least_of_all_that_may_go_goes_first() -> None:
    scores = torch.tensor([[4.0, 3.0, 2.9, 2.8], [0.1, 0.2, 0.3, 0.4]])
    threshold = SemiStructured()
    quarter = 1 - 0.5 ** (1 / 3)  # of the cubic 0.5·(1 − (1 − p)³)
    (keep,) = threshold.keep([scores], [1], quarter)
    assert keep.tolist() == [[True] * 4, [False, False, True, True]]


def test_the_share_follows_the_cubic_of_zhu_and_gupta() -> None:
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        expected = 0.5 * (1 - (1 - progress) ** 3)
        assert SemiStructured(2, 4).share(progress) == pytest.approx(expected)


# ---- what does not fit


def test_a_layer_that_does_not_fit_is_left_out_with_the_reason() -> None:
    net = nn.ModuleDict(
        {
            "fits": nn.Linear(8, 3),
            "narrow": nn.Linear(6, 3),
            "back": nn.ConvTranspose2d(8, 8, 3),
            "grouped": nn.Conv2d(8, 8, 3, groups=4),
        }
    )
    net.register_parameter("gain", nn.Parameter(torch.ones(())))
    names = ["*", "fits.bias", "gain"]
    assert SemiStructured().left_out(find_targets(net, names)) == {
        "narrow.weight": "dense: 6 inputs are no multiple of 4",
        "back.weight": "dense: its inputs lie along dimension 0, not 1",
        "grouped.weight": "dense: 2 inputs are no multiple of 4",
        "fits.bias": "dense: it has no inputs, its shape is (3,)",
        "gain": "dense: it has no inputs, its shape is ()",
    }


@pytest.mark.parametrize("pattern", [(0, 4), (4, 4), (5, 4), (2.0, 4), (2, "4"), (True, 4)])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"1 ≤ n < m"):
        SemiStructured(*pattern)


# ---- a whole run


class Net(nn.Module):
    """A convolution and two layers, the last of which no pattern of four fits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.middle = nn.Conv2d(8, 4, 1), nn.Linear(4, 30)
        self.head = nn.Linear(30, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.middle(self.conv(x[..., None, None]).flatten(1)).tanh())
        return y


@pytest.mark.parametrize("criterion", [None, Size(), Wanda()], ids=str)
@pytest.mark.parametrize("prune_at", [0.5, rounds(0.1, 0.6, 7), None], ids=["once", "7", "default"])
def test_a_run_ends_with_exactly_two_of_four(prune_at: Any, criterion: Criterion | None) -> None:
    task = Task(Net(), lambda w: torch.optim.Adam(w, lr=0.01))
    pruning = L1Pruning(threshold=SemiStructured(), prune_at=prune_at, criterion=criterion)
    fit(task, pruning, epochs=10 if prune_at is None else 4)
    for weight in (task.net.conv.weight, task.net.middle.weight):
        assert (blocks(weight != 0, 4) == 2).all()
    assert bool(task.net.head.weight.all())
    report = pruning.report
    assert report is not None and report.sparsity == 0.5
    assert [layer.name for layer in report.layers] == ["net.conv.weight", "net.middle.weight"]
    assert report.skipped["net.head.weight"] == "dense: 30 inputs are no multiple of 4"
    assert report.skipped["net.head.bias"] == "bias or scale"


def test_groups_of_weights_are_refused_before_training() -> None:
    task = Task(Net())
    with pytest.raises(ValueError, match=r"SemiStructured\(n=2, m=4\) removes single weights.*L1"):
        fit(task, L1Pruning(threshold=SemiStructured(), penalty=GroupL1()))
    assert not task.losses


def test_a_model_that_fits_nowhere_is_refused_with_the_reasons() -> None:
    task = Task(nn.Linear(7, 2), data=examples(50, 7))
    says = (
        r"threshold: it can cut none of the weights: net\.weight: dense: 7 inputs are no multiple"
    )
    with pytest.raises(ValueError, match=says):
        fit(task, L1Pruning(threshold=SemiStructured()))
    assert not task.losses


def test_after_a_plain_sparsity_the_pattern_is_still_met() -> None:
    """A mask of another shape of zeros, with more than two of four gone, only loses more."""
    scores = torch.rand(8, 16, generator=torch.Generator().manual_seed(0))
    (first,) = Sparsity(0.6).keep([scores], [1])
    (keep,) = SemiStructured().keep([scores.masked_fill(~first, -1.0)], [1])
    assert blocks(keep & first, 4).max() <= 2
