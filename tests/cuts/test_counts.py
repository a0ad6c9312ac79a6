"""As many units stay as were asked for, whatever their size and however many rounds it takes."""

from __future__ import annotations

import pytest
import torch

from l1prune import Count


@pytest.mark.parametrize("units", [1, 7, 20, 0.1, 0.5])
def test_exactly_so_many_stay_after_any_rounds(units: float) -> None:
    torch.manual_seed(0)
    scores = [torch.rand(1, 31), torch.rand(1, 10)]
    expected = int(units) if units >= 1 else round(41 * units)
    before = 41
    for progress in (0.1, 0.4, 0.9, 1.0):
        keeps = Count(units).keep(scores, [5, 9], progress)
        left = sum(int(keep.sum()) for keep in keeps)
        assert expected <= left <= before
        scores = [s.masked_fill(~k, -1.0) for s, k in zip(scores, keeps, strict=True)]
        before = left
    assert before == expected


def test_those_that_stay_are_worth_most() -> None:
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0))
    (keep,) = Count(9).keep([scores], [3])
    assert scores[keep].min() > scores[~keep].max()


@pytest.mark.parametrize("units", [0, 1.5, -0.1, True, "many", float("nan")])
def test_what_is_no_number_of_units_is_refused(units: object) -> None:
    with pytest.raises(ValueError, match="give how many units stay"):
        Count(units)  # type: ignore[arg-type]


def test_more_than_there_are_is_refused_before_training() -> None:
    Count(9).check([10], [4])
    with pytest.raises(ValueError, match="there are 10 units"):
        Count(10).check([10], [4])
