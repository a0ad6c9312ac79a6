"""Each pass goes to the first kernel that can do it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from l1prune.pressure.kernels.dispatch import Dispatch, kernels
from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.native import Native
from l1prune.pressure.kernels.passes import Kernel, Pass, Threshold
from l1prune.weights.library import SWITCH


class Single(Kernel):
    """Of the user's own: does weights of one entry."""

    name = "single"

    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        for one in passes:
            if one.w.numel() == 1:
                one.w.zero_()
        return [one for one in passes if one.w.numel() != 1]


def test_what_one_leaves_the_next_does() -> None:
    passes = [Pass(torch.ones(n), Threshold(0.5)) for n in (1, 2)]
    dispatch = Dispatch([Single(), Eager()])
    dispatch.run(passes)
    assert [one.w.tolist() for one in passes] == [[0.0], [0.5, 0.5]]
    assert dispatch.names == {"single", "eager"}


def test_the_environment_leaves_all_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "eager")
    assert [one.name for one in kernels()] == ["eager"]


@pytest.mark.skipif(not Native.is_there(), reason="no C compiler")
def test_on_a_cpu_with_a_compiler_c_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert kernels()[0].name == "C"


@pytest.mark.parametrize("amount", [-0.1, float("nan")])
def test_a_threshold_below_zero_is_refused_whatever_the_kernel(amount: float) -> None:
    with pytest.raises(ValueError, match="must be ≥ 0"):
        Dispatch().run([Pass(torch.ones(2), Threshold(amount))])
