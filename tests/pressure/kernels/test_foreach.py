"""Many tensors at a time: the same as one at a time; on a GPU without waiting for it."""

from __future__ import annotations

import pytest
import torch

from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.foreach import Foreach
from l1prune.pressure.kernels.passes import Correction, Pass, Threshold

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def passes(device: str, rooted: bool, counted: bool, dtype: torch.dtype) -> list[Pass]:
    torch.manual_seed(0)
    found = []
    for shape in ((3,), (17, 5), (2, 3, 3, 3)):
        w, second = torch.randn(shape), torch.rand(shape)
        w.view(-1)[:2] = torch.tensor([float("nan"), float("inf")])
        correction = Correction(0.999, torch.tensor(7.0, device=device)) if counted else 0.3
        v = second.to(device, dtype) if rooted else None
        amount, most = 0.2, 0.25
        if counted:  # as where a learning rate is known to the device alone
            amount, most = (torch.tensor(x, device=device) for x in (amount, most))
        by = Threshold(amount, v, correction, 1e-8, most)
        found.append(Pass(w.to(device, dtype), by, (torch.rand(shape) > 0.3).to(device)))
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_it_is_eager_torch(device: str, dtype: torch.dtype, rooted: bool, counted: bool) -> None:
    ours, theirs = (passes(device, rooted, counted, dtype) for _ in range(2))
    assert not Foreach().run(ours)
    Eager().run(theirs)
    eps = torch.finfo(dtype).eps
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.w, other.w, rtol=4 * eps, atol=4 * eps, equal_nan=True)
        assert not one.w[~one.mask].any()  # type: ignore[index, operator]


def test_halves_and_what_lies_otherwise_are_left() -> None:
    able = Pass(torch.ones(2), Threshold(0.5))
    left = [
        Pass(torch.ones(2, dtype=torch.bfloat16), Threshold(0.5)),
        Pass(torch.ones(2), Threshold(0.5, torch.ones(2, dtype=torch.float64))),
    ]
    assert Foreach().run([left[0], able, left[1]]) == left
    assert torch.equal(able.w, torch.full((2,), 0.5))
