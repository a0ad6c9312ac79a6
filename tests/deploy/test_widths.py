"""Widths: as many as can be shortened together are, and each other one says why not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l1prune.deploy.compact import compact
from l1prune.deploy.widths import OTHERS, Width, most

PARTS = [Width(((f"layer{number}", 0),), torch.tensor([number])) for number in range(9)]


@settings(deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(PARTS)))
def test_all_but_those_at_fault_are_chosen(faulty: set[Width]) -> None:
    def refusal(some: Sequence[Width]) -> str | None:
        bad = [str(one) for one in some if one in faulty]
        return f"because of {bad}" if bad else None

    chosen, refused = most(PARTS, refusal)
    assert chosen == [part for part in PARTS if part not in faulty]
    assert set(refused) == faulty
    assert all(reason == f"because of {[str(part)]}" for part, reason in refused.items())


def test_of_two_that_exclude_each_other_the_first_is_chosen() -> None:
    pair = {PARTS[2], PARTS[6]}
    chosen, refused = most(PARTS, lambda some: "both" if pair <= set(some) else None)
    assert PARTS[2] in chosen and list(refused) == [PARTS[6]]
    assert len(chosen) == len(PARTS) - 1


def test_if_all_can_go_one_look_is_enough() -> None:
    looks: list[int] = []

    def refusal(some: Sequence[Width]) -> None:
        looks.append(len(some))

    assert most(PARTS, refusal) == (PARTS, {}) and looks == [9]


class Skipped(nn.Module):
    """A depthwise convolution beside a skip connection, and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 4, 1)
        self.depthwise = nn.Conv1d(4, 4, 3, padding=1, groups=4)
        self.gru = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        hidden: Tensor = self.gru((x + self.depthwise(x)).mT)[0]
        return hidden


def test_rows_of_zeros_that_stay_are_told_with_the_reason() -> None:
    torch.manual_seed(0)
    model = Skipped().eval()
    model.depthwise.weight.data[:3] = 0
    model.gru.weight_ih_l0.data[:5] = 0
    report = compact(model, torch.randn(2, 2, 6)).report
    assert report.before == report.after and not report.kept
    assert report.empty == {
        "read by gru in gru": {("row", "depthwise.weight"): 3, ("row", "gru.weight_ih_l0"): 5},
    }


def test_a_unit_beside_a_skip_connection_lives_by_other_weights() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch, self.head = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            out: Tensor = self.head(x + self.branch(x))
            return out

    torch.manual_seed(0)
    model = Residual().eval()
    model.branch.weight.data[1:] = 0
    report = compact(model, torch.randn(1, 2)).report
    assert report.empty == {OTHERS: {("row", "branch.weight"): 3}}
    assert f"kept: 3 rows of branch.weight, all zeros, {OTHERS}" in str(report)


def test_of_what_goes_nothing_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    model[0].weight.data[:6] = 0
    assert not compact(model, torch.ones(1, 4)).report.empty


def test_zeros_of_buffers_are_no_weights_that_are_missing() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("before", torch.ones(3, 3).tril(-1))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x) @ self.get_buffer("before")
            return out

    assert not compact(Masked().eval(), torch.randn(2, 3)).report.empty
