"""Steps: time is what optimizers have stepped, and the last of their hooks may change others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.training.steps import StepHooks, StepLoop


def stepping() -> SGD:
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    return SGD([weight], 0.1, fused=True)


@pytest.mark.parametrize("length", [7, 21500, 999983])
def test_a_share_is_reached_exactly_at_its_step(length: int) -> None:
    loop = StepLoop(nn.Linear(1, 1), [stepping()], length)
    loop.clock.steps = length // 2
    assert loop.progress() == loop.passes() == (length // 2) / length
    loop.clock.steps = 2 * length
    assert loop.progress() == 1.0


def test_passes_go_on_beyond_the_run() -> None:
    loop = StepLoop(nn.Linear(1, 1), [stepping()], length=10, per_pass=4)
    begins = []
    for loop.clock.steps in range(13):
        begins.append(loop.begins_pass)
    assert loop.passes() == 3.0
    assert [step for step, first in enumerate(begins) if first] == [0, 4, 8, 12]


def test_before_and_after_each_step_it_tells_of_it() -> None:
    optimizer, told = stepping(), []
    hooks = StepHooks([optimizer], lambda: told.append("before"), told.append)
    for _ in range(2):
        optimizer.step()
    assert told == ["before", optimizer] * 2
    hooks.remove()
    optimizer.step()
    assert len(told) == 4


def test_a_step_that_a_fused_optimizer_skipped_is_none() -> None:
    optimizer, told = stepping(), []
    StepHooks([optimizer], lambda: None, told.append)
    optimizer.found_inf = torch.ones(1)  # type: ignore[attr-defined]
    optimizer.step()
    assert told == []


def test_what_it_calls_comes_after_what_was_hung_up_since_and_may_take_it_off() -> None:
    optimizer, told = stepping(), []
    others: list[RemovableHandle] = []

    def after(_: Optimizer) -> None:
        told.append("last")
        while others:
            others.pop().remove()
        for _ in range(2):
            others.append(optimizer.register_step_post_hook(lambda *_: told.append("other")))

    StepHooks([optimizer], lambda: None, after)
    optimizer.register_step_post_hook(lambda *_: told.append("own"))
    for _ in range(3):
        optimizer.step()
    assert told == ["own", "last", *["own", "other", "other", "last"] * 2]


@pytest.mark.parametrize(("steps", "left"), [(0, 3), (3, 3), (4, 2), (11, 1), (12, 0), (14, 0)])
def test_validations_that_are_left_are_those_after_this_one(steps: int, left: int) -> None:
    loop = StepLoop(nn.Linear(1, 1), [stepping()], length=14, per_validation=4)
    loop.clock.steps = steps
    assert loop.validations_left() == left
    loop.is_over = True
    assert loop.validations_left() == 0
