"""Passes: what all kernels take."""

import pytest
import torch

from l1prune.pressure.kernels.passes import NOTHING, Correction, Pass


def test_by_itself_a_pass_does_nothing() -> None:
    one = Pass(torch.ones(1))
    assert one.threshold is NOTHING and one.threshold.amount == 0 and one.mask is None


@pytest.mark.parametrize("steps", [1, 1000])
def test_a_correction_is_exact_where_few_steps_leave_little_of_one(steps: int) -> None:
    found = Correction(0.999, torch.tensor(float(steps))).value()
    assert float(found) == pytest.approx((1 - 0.999**steps) ** 0.5, rel=1e-13)
