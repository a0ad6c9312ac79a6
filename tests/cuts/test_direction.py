"""Direction: the words of a metric's name say it, or it is asked for."""

from __future__ import annotations

import pytest

from l1prune import Budget
from l1prune.cuts.direction import higher_is_better


@pytest.mark.parametrize(
    ("name", "higher"),
    [("val/accuracy", True), ("val_acc", True), ("val/loss", False), ("valid/top1_error", False)],
)
def test_a_direction_is_inferred_from_words_that_leave_no_doubt(name: str, higher: bool) -> None:
    assert Budget(name, 0.1).higher_is_better is higher


@pytest.mark.parametrize("name", ["val/score", "val/accuracy_loss", "accurate"])
def test_a_direction_in_doubt_is_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="give higher_is_better=True"):
        higher_is_better(name)
