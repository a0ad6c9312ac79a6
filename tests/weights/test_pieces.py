"""A formula over pieces is the formula over the whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l1prune.weights import pieces as room
from l1prune.weights.pieces import piece_length, pieces, precise


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """Pieces of seven weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_PIECE", 7)
        patch.setattr(torch, "get_num_threads", lambda: 1)
        yield


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.booleans())
def test_every_weight_is_seen_once_beside_its_own_companions(
    shape: list[int], transposed: bool
) -> None:
    w, by = torch.zeros(shape), torch.arange(float(torch.Size(shape).numel())).view(shape)
    expected = by + 10
    if transposed:
        w = w.movedim(0, -1).contiguous().movedim(-1, 0)
    lengths = []
    for some, beside, ten in pieces(w, by, torch.tensor(10.0)):
        some.add_(beside).add_(ten)
        lengths.append(some.numel())
    assert torch.equal(w, expected)
    assert sum(lengths) == w.numel()


def test_pieces_are_short_and_as_few_as_that_allows() -> None:
    lengths = [some.numel() for (some,) in pieces(torch.zeros(5, 4))]
    assert lengths == [7, 7, 6]


@pytest.mark.parametrize(
    "others",
    [(torch.zeros(20, 1).expand(20, 5),), (torch.zeros(100),), (torch.zeros(5, 20).T,)],
    ids=["expanded", "of another shape", "transposed"],
)
def test_what_cannot_be_walked_through_flat_comes_back_whole(
    others: tuple[torch.Tensor, ...],
) -> None:
    w = torch.zeros(20, 5)
    (one,) = pieces(w, *others)
    assert all(a is b for a, b in zip(one, (w, *others), strict=True))


def test_no_weights_are_a_piece_of_none() -> None:
    assert [some.shape for (some,) in pieces(torch.zeros(0, 3))] == [(0, 3)]
    assert piece_length(torch.zeros(0)) == 7


def test_on_another_device_than_the_cpu_a_piece_is_all_there_is() -> None:
    assert piece_length(torch.zeros(50, device="meta")) == 50
    assert piece_length(torch.zeros(0, device="meta")) == 1


def test_halves_are_computed_with_in_float32_and_doubles_stay() -> None:
    assert precise(torch.float16) == precise(torch.bfloat16) == torch.float32
    assert precise(torch.float64) == torch.float64
