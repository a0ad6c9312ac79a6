"""One launch on a GPU: the bits of eager torch, no waiting, few launches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from l1prune.pressure.forms import Proximal
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.fused import BLOCK, Fused, Table
from l1prune.pressure.kernels.passes import Correction, Pass, Threshold
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets

gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and Fused.is_there()), reason="no GPU with Triton"
)


def test_what_is_not_on_a_gpu_is_left() -> None:
    one = Pass(torch.ones(2), Threshold(0.5))
    assert Fused().run([one]) == [one]
    assert copy.deepcopy(Fused()).run([one]) == [one]


@pytest.mark.parametrize("skipped", [0, 1, 4])
def test_wide_reads_are_of_what_lies_at_multiples_alone(skipped: int) -> None:
    mask = torch.ones(BLOCK + 5 - skipped, dtype=torch.bool)
    one = Pass(torch.ones(BLOCK + 5)[skipped:], mask=mask)
    table = Table.of([(one.w.data_ptr(), 0, mask.data_ptr(), 0, 0, one.w.numel())], [one])
    assert table.aligned == (skipped * 4 % 16 == 0)
    assert table.blocks.tolist() == [[0, 0], [0, BLOCK]]


@gpu
@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("rooted", [False, True])
def test_it_is_eager_torch_to_one_rounding(rooted: bool, counted: bool, skipped: int) -> None:
    torch.manual_seed(0)
    ours, theirs = [], []
    for count in (1, 4095, 4096, 4097, 100_000):
        w, second = torch.randn(count).cuda(), torch.rand(count + skipped).cuda()[skipped:]
        steps = torch.tensor(3.0, device="cuda")
        by = Threshold(
            0.01,
            second if rooted else None,
            Correction(0.999, steps) if counted else 0.3,
            1e-8,
            most=0.02,
        )
        mask = torch.rand(count).cuda() > 0.3
        ours.append(Pass(w.clone(), by, mask))
        theirs.append(Pass(w, by, mask))
    assert not Fused().run(ours)
    Eager().run(theirs)
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.w, other.w, rtol=3e-7, atol=3e-8)


def pressed(layers: int = 48) -> tuple[torch.optim.Optimizer, Pressure]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(layers))).cuda()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    targets = find_targets(net)
    masks = {target.name: torch.rand(64, 64).cuda() > 0.5 for target in targets}
    form = Proximal(OptimizerMetric(limit=0.1))
    pressure = Pressure(optimizer, targets, strength=1e-4, form=form, masks=masks)
    for w in net.parameters():
        w.grad = torch.randn_like(w)
    for _ in range(2):
        optimizer.step()
    return optimizer, pressure


@gpu
def test_a_step_waits_for_nothing() -> None:
    optimizer, _ = pressed()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@gpu
def test_a_step_takes_at_most_four_launches_for_all_layers() -> None:
    optimizer, pressure = pressed()
    counts = []
    for hung in (True, False):
        if not hung:
            pressure.remove()
        optimizer.step()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            optimizer.step()
            torch.cuda.synchronize()
        names = [event.name for event in profiler.events()]
        counts.append(sum("LaunchKernel" in name or "cudaMemcpyAsync" in name for name in names))
    assert counts[0] - counts[1] <= 4
    assert pressure.dispatch.names == {"Triton"}


@gpu
def test_the_dispatch_takes_it_first() -> None:
    dispatch = Dispatch()
    dispatch.run([Pass(torch.ones(4, device="cuda"), Threshold(0.5))])
    assert dispatch.names == {"Triton"}
