"""Moments: gradients are told by the optimizer, or noted by us, and come to the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from l1prune.cuts.moments import moments
from l1prune.pressure.gradients import Gradients
from l1prune.weights.targets import Target


def stepped(optimizer: Optimizer, w: nn.Parameter, gradients: Gradients) -> None:
    torch.manual_seed(0)
    with gradients.follow([Target("w", w)], [optimizer]):
        for _ in range(7):
            w.grad = torch.randn_like(w)
            optimizer.step()


def test_what_is_noted_under_sgd_is_what_adam_tells() -> None:
    found = []
    for make in (SGD, Adam):
        w, gradients = nn.Parameter(torch.ones(4, 3)), Gradients()
        optimizer = make([w], lr=0.0)
        stepped(optimizer, w, gradients)
        with moments([Target("w", w)], [optimizer], {}, gradients) as known:
            found.append(replace(known["w"], long=known["w"].long.clone()))
    ours, adams = found
    torch.testing.assert_close(ours.long, adams.long)
    torch.testing.assert_close(ours.short, adams.short)
    assert ours.memory == adams.memory == 0.9


def test_an_optimizer_without_a_mean_tells_the_squares_alone() -> None:
    w = nn.Parameter(torch.ones(4, 3))
    optimizer = RMSprop([w], lr=0.0)
    stepped(optimizer, w, Gradients())
    with moments([Target("w", w)], [optimizer], {}, Gradients()) as known:
        assert known["w"].short is known["w"].long and known["w"].memory == 0.0


def test_of_steps_that_nobody_saw_nothing_is_said() -> None:
    w = nn.Parameter(torch.ones(4, 3))
    optimizer = SGD([w], lr=0.1, momentum=0.9)
    stepped(optimizer, w, Gradients())
    with moments([Target("w", w)], [optimizer], {}, Gradients()) as known:
        assert known == {}
