"""Follow finds the strength, from any start, on any optimizer."""

from __future__ import annotations

import math
import pickle
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from tasks import trainer
from torch import nn

from l1prune import (
    L1,
    Follow,
    L1Pruning,
    OptimizerMetric,
    Pressure,
    Proximal,
    Sparsity,
    find_targets,
)
from l1prune.cuts.plans import as_plan
from l1prune.pressure.forms import Form
from l1prune.training.follow import FollowStrength
from l1prune.training.strength import Moment, as_strength
from l1prune.zoo import Classifier, Digits, mlp


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("right", [0.02, 3.0])
def test_from_any_start_it_finds_the_strength_that_leaves_no_more_than_the_slack(
    start: float, right: float
) -> None:
    # A plant of the simplest kind: the weaker the strength against the right one, the more of the
    # weights that are due have not become zero.
    follow = Follow(start=start)
    memory = (follow.start,)
    for look in range(follow.looks):
        missing = math.exp(-3 * memory[0] / right)
        memory = follow(memory, missing, look / follow.looks)
    assert math.exp(-3 * memory[0] / right) < 2 * follow.slack
    assert memory[0] < 3 * right


def test_it_asks_for_more_pressure_the_more_is_missing() -> None:
    follow = Follow()
    found = [follow((1.0,), missing, 0.5)[0] for missing in (0.0, 1e-3, 0.01, 0.05, 0.5)]
    assert found == sorted(found)


def test_it_grows_stricter_towards_the_end() -> None:
    follow = Follow()
    assert follow((1.0,), 0.02, 0.9) > follow((1.0,), 0.02, 0.1)


def test_it_is_a_plain_value() -> None:
    assert pickle.loads(pickle.dumps(Follow(start=2.0))) == Follow(start=2.0) != Follow()


@pytest.mark.parametrize(
    "arguments", [{"start": 0.0}, {"start": float("nan")}, {"slack": 0.0}, {"arrive": 1.5},
                  {"ease": -0.1}, {"looks": 0}, {"settle": 0}], ids=str,
)  # fmt: skip
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be"):
        Follow(**arguments)  # type: ignore[arg-type]


class Watch(L.Callback):
    """Writes down the share of zeros before each step under pressure."""

    def __init__(self, pruning: L1Pruning) -> None:
        self.pruning, self.zeros = pruning, 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any
    ) -> None:
        if self.pruning.phase == "press" and self.pruning.run.clock.batches:
            weights = [target.parameter for target in find_targets(pl_module)]
            left = sum(int(w.count_nonzero()) for w in weights)
            self.zeros = 1 - left / sum(w.numel() for w in weights)


ADAM = partial(torch.optim.Adam, lr=2e-3)
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("optimizer", "start", "form"),
    [
        (ADAM, 0.01, Proximal()),
        (ADAM, 10.0, Proximal()),
        (SGD, 1.0, Proximal()),
        (ADAM, 1e-3, Proximal(OptimizerMetric())),
    ],
    ids=["adam, from 0.01", "adam, from 10", "sgd", "adam's metric"],
)
def test_zeros_arrive_at_the_plan_from_any_start(optimizer: Any, start: float, form: Form) -> None:
    L.seed_everything(0, verbose=False)
    pruning = L1Pruning(Follow(start), Sparsity(0.9), form=form)
    watch = Watch(pruning)
    run = trainer(watch, pruning, epochs=12, limit_val_batches=0)
    run.fit(Classifier(mlp((1, 8, 8), 10), 10, optimizer), Digits())
    assert watch.zeros == pytest.approx(0.9, abs=0.01)


def followed() -> FollowStrength:
    strength = as_strength(Follow(looks=10), as_plan(Sparsity(0.5)), L1(), Proximal())
    assert isinstance(strength, FollowStrength)
    return strength


def test_what_is_pressed_is_what_the_threshold_would_cut_by_now() -> None:
    torch.manual_seed(0)
    targets = find_targets(nn.Linear(100, 10, bias=False))
    strength = followed()
    shares = []
    for progress in (0.0, 0.35, 0.95):
        strength.advance(Moment(progress, 100, 0.0), targets, {})
        shares.append((~strength.spared["weight"]).float().mean().item())
    assert shares[0] < shares[1] < shares[2] == pytest.approx(0.5, abs=1e-3)


def test_what_stays_is_pressed_only_once_it_has_settled() -> None:
    targets = find_targets(nn.Linear(100, 10))
    strength = followed()
    eases = []
    for look, batches in enumerate((0, 1500, 9000)):
        strength.advance(Moment(look / 10, batches, 0.0), targets, {})
        eases.append(strength.ease)
    assert eases == pytest.approx([0.0, 0.05, 0.1])


def test_its_state_survives_a_file() -> None:
    torch.manual_seed(0)
    targets = find_targets(nn.Linear(100, 10))
    one, other = followed(), followed()
    for progress in (0.0, 0.1, 0.2):
        one.advance(Moment(progress, 100, 0.0), targets, {})
    other.load_state_dict(one.state_dict())
    other.advance(Moment(0.25, 100, 0.0), targets, {})
    assert (one.value, one.ease) == (other.value, other.ease)
    assert torch.equal(one.spared["weight"], other.spared["weight"])


def test_a_form_hangs_on_the_optimizer_what_it_would_hang_there_by_itself() -> None:
    class Hanging(Proximal):
        def attach(self, optimizer: Any, steps: Any) -> list[Any]:
            return [optimizer.register_step_pre_hook(lambda *_: seen.extend(steps(optimizer)))]

    layer, seen = nn.Linear(3, 3), []  # type: ignore[var-annotated]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    strength = FollowStrength(Follow(), Sparsity(0.5), L1())
    targets = find_targets(layer)
    Pressure(optimizer, targets, strength=0.1, form=strength.form(Hanging()))
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert [step.target for step in seen] == [*targets]
