"""Fisher: what was forgotten too slowly is forgotten, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

from l1prune.cuts.fisher import Fisher, packed, renewed, unpacked
from l1prune.pressure.optimizers import update_rule
from l1prune.weights.targets import Target

MAKERS: dict[str, Any] = {
    "Adam": lambda w: Adam(w, lr=0.1, betas=(0.9, 0.99)),
    "Adam, foreach": lambda w: Adam(w, lr=0.1, foreach=True),
    "Adam, fused": lambda w: Adam(w, lr=0.1, fused=True),
    "Adam, amsgrad": lambda w: Adam(w, lr=0.1, amsgrad=True),
    "AdamW": lambda w: AdamW(w, lr=0.1, weight_decay=0.1),
    "RMSprop": lambda w: RMSprop(w, lr=0.1, alpha=0.95),
    "RMSprop, centered": lambda w: RMSprop(w, lr=0.1, centered=True, momentum=0.9),
    "Adagrad": lambda w: Adagrad(w, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.3),
}
BETAS = {"Adam": 0.99, "RMSprop": 0.95, "RMSprop, centered": 0.99, "Adagrad": 1.0}


def moved(make: Any, gradients: list[Tensor], dtype: torch.dtype = torch.float64) -> Any:
    """An optimizer, to be taken through steps with these gradients one by one."""
    w = nn.Parameter(torch.ones_like(gradients[0], dtype=dtype))
    optimizer = make([w])

    def step(gradient: Tensor) -> Any:
        w.grad = gradient.to(dtype)
        optimizer.step()
        rule = update_rule(optimizer)
        assert rule
        return rule.squares(optimizer.param_groups[0], optimizer.state[w])

    return step


def some(count: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(scale * torch.randn(count, 5, dtype=torch.float64, generator=generator))


def mean(gradients: list[Tensor], beta: float) -> Tensor:
    """Of their squares, each step back counting β times as much as the one after it."""
    counts = [beta**age for age in reversed(range(len(gradients)))]
    total = sum(count * g.square() for count, g in zip(counts, gradients, strict=True))
    return torch.as_tensor(total / sum(counts))


@pytest.mark.parametrize("name", MAKERS)
def test_half_is_of_the_steps_since_and_half_of_before(name: str) -> None:
    first, second = some(20), some(7, scale=3.0)
    step, beta = moved(MAKERS[name], first), BETAS.get(name, 0.999)
    for gradient in first:
        seen = step(gradient)
    before = renewed(seen)
    torch.testing.assert_close(before.mean, mean(first, beta))
    for gradient in second:
        seen = step(gradient)
    now = renewed(seen, before)
    torch.testing.assert_close(now.mean, (mean(first, beta) + mean(second, beta)) / 2)


def test_what_the_gradients_once_were_is_forgotten_as_v_does_not() -> None:
    first, second = some(50, scale=10.0), some(12)
    step = moved(MAKERS["AdamW"], first)
    for gradient in first:
        seen = step(gradient)
    fisher = renewed(seen)
    for index, gradient in enumerate(second):
        seen = step(gradient)
        fisher = renewed(seen, fisher) if index % 2 else fisher
    of_late, whole = fisher.mean.mean(), renewed(seen).mean.mean()
    assert of_late < 4 < 70 < whole  # the truth is 1


def test_no_step_since_changes_nothing() -> None:
    step = moved(MAKERS["Adam"], some(2))
    first, second = step(some(2)[0]), step(some(2)[1])
    fisher = renewed(second, renewed(first))
    assert renewed(second, fisher) is fisher


def test_an_optimizer_that_began_anew_is_believed() -> None:
    old = Fisher(torch.full((5,), 1e6), torch.full((5,), 1e6), steps=100.0)
    gradients = some(3)
    step = moved(MAKERS["Adam"], gradients)
    for gradient in gradients:
        seen = step(gradient)
    torch.testing.assert_close(renewed(seen, old).mean, mean(gradients, 0.99))


def test_means_are_never_negative_nor_missing() -> None:
    """In float32 the difference of two sums that are nearly the same may round to either side."""
    gradients = [torch.full((1000,), 1e-3)] + [torch.full((1000,), 1e-12)] * 200
    step = moved(lambda w: Adam(w, betas=(0.9, 0.9999)), gradients, torch.float32)
    fisher = renewed(step(gradients[0]))
    for gradient in gradients[1:]:
        fisher = renewed(step(gradient), fisher)
        assert bool((fisher.mean >= 0).all())


def test_sums_in_half_precision_are_taken_apart_in_float32() -> None:
    gradients = some(4)
    step = moved(MAKERS["AdamW"], gradients, torch.bfloat16)
    before = renewed(step(gradients[0]))
    now = renewed(step(gradients[1]), before)
    assert now.mean.dtype == torch.float32 and bool(now.mean.isfinite().all())


def test_who_sums_up_nothing_says_nothing() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = SGD([w], lr=0.1, momentum=0.9)
    w.grad = torch.ones(2)
    optimizer.step()
    rule = update_rule(optimizer)
    assert rule
    assert rule.squares(optimizer.param_groups[0], optimizer.state[w]) is None


def test_a_checkpoint_gives_back_what_it_was_given() -> None:
    step = moved(MAKERS["Adam"], some(2))
    fishers = {"w": renewed(step(some(2)[0])), "gone": renewed(step(some(2)[1]))}
    found = unpacked(packed(fishers), [Target("w", nn.Parameter(torch.ones(5)))])
    assert list(found) == ["w"] and found["w"].steps == 1
    assert torch.equal(found["w"].mean, fishers["w"].mean)
    assert torch.equal(found["w"].total, fishers["w"].total)
