"""Loop: a Trainer and a plain loop answer all that a run asks."""

from __future__ import annotations

import inspect

import pytest

from l1prune.training.clock import TrainerClock
from l1prune.training.loop import Clock, Loop
from l1prune.training.steps import StepClock, StepLoop
from l1prune.training.trainer import TrainerLoop

PAIRS = [(Loop, TrainerLoop), (Loop, StepLoop), (Clock, TrainerClock), (Clock, StepClock)]


@pytest.mark.parametrize(("asked", "answers"), PAIRS, ids=lambda one: one.__name__)
def test_nothing_that_is_asked_is_left_to_the_protocol(asked: type, answers: type) -> None:
    methods = {name: one for name, one in vars(asked).items() if inspect.isfunction(one)}
    for name, one in methods.items():
        if name.startswith("_"):
            continue
        found = getattr(answers, name)
        assert found is not one
        assert [*inspect.signature(found).parameters] == [*inspect.signature(one).parameters]
