"""Inputs: what layers see in training, summed up for a criterion."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from l1prune import find_targets
from l1prune.cuts.inputs import KEPT, InputSums


def totals(module: nn.Module, x: Tensor) -> tuple[Tensor, int] | None:
    """The plain sum of a linear layer's inputs."""
    return (x.sum(0), len(x)) if isinstance(module, nn.Linear) else None


def seen(sums: InputSums, model: nn.Module, *batches: Tensor) -> None:
    with sums.watch(model, find_targets(model)):
        for batch in batches:
            model(batch)


def test_the_mean_is_that_of_all_examples_whatever_the_batches() -> None:
    sums, model, x = InputSums(totals), nn.Sequential(nn.Linear(3, 2)), torch.randn(10, 3)
    seen(sums, model, x[:3], x[3:])
    mean = sums.mean("0.weight")
    assert mean is not None and torch.allclose(mean, x.mean(0))


def test_what_was_seen_before_a_cut_counts_half() -> None:
    sums, model = InputSums(totals), nn.Sequential(nn.Linear(1, 1))
    seen(sums, model, torch.full((4, 1), 1.0))
    sums.forget_half()
    seen(sums, model, torch.full((4, 1), 4.0))
    mean = sums.mean("0.weight")
    assert mean is not None and mean.item() == pytest.approx((KEPT * 1 + 4) / (KEPT + 1))


def test_evaluation_and_layers_that_are_no_targets_and_what_is_left_are_not_seen() -> None:
    sums, model, x = (
        InputSums(totals),
        nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)),
        torch.ones(2, 3),
    )
    seen(sums, model.eval(), x)
    assert sums.mean("0.weight") is None
    with sums.watch(model.train(), find_targets(model)[:1]):
        model(x)
    assert sums.mean("0.weight") is not None and sums.mean("1.weight") is None
    before = copy.deepcopy(sums.state_dict())
    model(x)
    assert torch.equal(
        sums.state_dict()["inputs"][0]["0.weight"][0], before["inputs"][0]["0.weight"][0]
    )


def test_what_several_processes_saw_goes_on_in_one() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    one, two, both, whole = (InputSums(totals) for _ in range(4))
    x = torch.randn(6, 3)
    seen(one, model, x[:2])
    seen(two, model, x[2:])
    seen(whole, model, x)
    both.load_state_dict({"inputs": one.state_dict()["inputs"] + two.state_dict()["inputs"]})
    mean, expected = both.mean("0.weight"), whole.mean("0.weight")
    assert mean is not None and expected is not None and torch.allclose(mean, expected)


def test_a_state_is_a_copy() -> None:
    sums, again = InputSums(totals), InputSums(totals)
    model = nn.Sequential(nn.Linear(3, 2))
    seen(sums, model, torch.ones(2, 3))
    again.load_state_dict(sums.state_dict())
    seen(sums, model, torch.zeros(2, 3))
    mean = again.mean("0.weight")
    assert mean is not None and mean.tolist() == [1.0, 1.0, 1.0]


PROCESS = """
import sys, torch, torch.distributed as dist
from torch import nn
from l1prune import find_targets
from l1prune.cuts.inputs import InputSums

rank = int(sys.argv[1])
dist.init_process_group("gloo", store=dist.FileStore(sys.argv[2], 2), rank=rank, world_size=2)
model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
sums = InputSums(lambda module, x: (x.sum(0), len(x)))
with sums.watch(model, find_targets(model)):
    (model if rank else model[0])(torch.full((1 + rank, 2), float(rank)))
first, second = sums.mean("0.weight"), sums.mean("1.weight")
assert torch.allclose(first, torch.full((2,), 2 / 3)), first
assert second is not None and sums.mean("none") is None
dist.destroy_process_group()
"""


@pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="torch was built without torch.distributed or gloo",
)
def test_a_process_that_saw_nothing_of_a_layer_learns_what_others_saw(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()


def test_no_more_is_looked_at_than_is_enough_until_the_next_cut() -> None:
    sums, model = InputSums(totals, enough=2.0), nn.Sequential(nn.Linear(3, 2))
    seen(sums, model, torch.ones(4, 3), torch.ones(4, 3), torch.zeros(4, 3))  # 6 are enough
    mean = sums.mean("0.weight")
    assert mean is not None and mean.tolist() == [1.0, 1.0, 1.0]
    again = InputSums(totals, enough=2.0)
    again.load_state_dict(sums.state_dict())
    for one in (sums, again):
        seen(one, model, torch.zeros(4, 3))
        one.forget_half()
        seen(one, model, torch.zeros(4, 3))
        mean = one.mean("0.weight")
        assert mean is not None and mean.tolist() == [0.5, 0.5, 0.5]
