"""Every training regime: pressure once per real optimizer step, and nothing else is touched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.tuner import Tuner
from tasks import Task, examples, fit, layers, trainer
from torch import Tensor

from l1prune import L1, L1Pruning, Subgradient, once
from l1prune.penalties import Penalty

BATCHES, EPOCHS = 6, 3


class Counting(L1):
    """A penalty that presses nothing and counts how often it was asked to."""

    def __init__(self) -> None:
        object.__setattr__(self, "calls", 0)

    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        object.__setattr__(self, "calls", self.calls + 1)
        return w


class Seen(Task):
    """Writes down all that its user can see."""

    def __init__(self, optimizer: Callable[..., Any] = torch.optim.SGD, lr: float = 0.05) -> None:
        super().__init__(layers(8, 16, 2), optimizer, examples(48), batch_size=8)
        self.lr = lr
        self.norms: list[str] = []
        self.zeros_seen: list[int] = []

    def loss(self, batch: list[Tensor]) -> Tensor:
        self.zeros_seen.append(sum(int((p == 0).sum()) for p in self.net.parameters()))
        return super().loss(batch)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        norms = [p.grad.float().norm().item() for p in self.parameters() if p.grad is not None]
        self.norms.append(str(norms))  # as text, in which NaN equals NaN

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=self.lr)


class Manual(Seen):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()


class TwoOptimizers(Manual):
    """The second optimizer moves every other batch, the first at each."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        for index, optimizer in enumerate(self.optimizers()):
            if index == 0 or batch_idx % 2 == 0:
                optimizer.zero_grad()
                self.manual_backward(self.loss(batch))
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return [
            self.optimizer(layer.parameters(), lr=self.lr) for layer in (self.net[0], self.net[2])
        ]


class TwoGroups(Seen):
    def configure_optimizers(self) -> Any:
        groups = [
            {"params": self.net[0].parameters()},
            {"params": self.net[2].parameters(), "lr": 0.01},
        ]
        return self.optimizer(groups, lr=self.lr)


class Scheduled(Seen):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, BATCHES * EPOCHS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Overflowing(Seen):
    """Its third and fourth gradients are infinite."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        return loss * float("inf") if self.current_epoch == 0 and batch_idx in (2, 3) else loss


class SkippingBatches(Seen):
    """`None` skips the backward pass; Lightning steps all the same, with no gradients."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        return None if batch_idx == 1 else self.loss(batch)


class Compiled(Seen):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")


@dataclass(frozen=True)
class Regime:
    name: str
    task: Callable[[], Seen] = Seen
    trainer: dict[str, Any] = field(default_factory=dict)
    presses: int = 2 * BATCHES * EPOCHS  # two weights, once a step each


def scaled() -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))


def with_optimizer(make: Callable[..., Any], **options: Any) -> Callable[[], Seen]:
    return lambda: Seen(lambda params, lr: make(params, lr=lr, **options))


optim = torch.optim
REGIMES = [
    Regime("automatic"),
    Regime("manual", Manual),
    Regime("two optimizers", TwoOptimizers, presses=(BATCHES + BATCHES // 2) * EPOCHS),
    Regime("two groups", TwoGroups),
    Regime("accumulate", trainer={"accumulate_grad_batches": 4}, presses=2 * 2 * EPOCHS),
    Regime("clip norm", trainer={"gradient_clip_val": 0.1}),
    Regime("clip value", trainer={"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}),
    Regime("bf16-mixed", trainer={"precision": "bf16-mixed"}),
    Regime("64-true", trainer={"precision": "64-true"}),
    Regime("scaler", trainer={"plugins": scaled}),
    Regime("scaler skips", Overflowing, {"plugins": scaled}, 2 * (BATCHES * EPOCHS - 2)),
    Regime(
        "fused scaler skips",
        lambda: Overflowing(lambda params, lr: optim.Adam(params, lr=lr, fused=True)),
        {"plugins": scaled},
        2 * (BATCHES * EPOCHS - 2),
    ),
    Regime("no loss", SkippingBatches, presses=2 * (BATCHES - 1) * EPOCHS),
    Regime("momentum", with_optimizer(optim.SGD, momentum=0.9)),
    Regime("nesterov", with_optimizer(optim.SGD, momentum=0.9, nesterov=True)),
    Regime("weight decay", with_optimizer(optim.AdamW, weight_decay=0.1)),
    Regime("adam", with_optimizer(optim.Adam)),
    Regime("adam fused", with_optimizer(optim.Adam, fused=True)),
    Regime("adam foreach", with_optimizer(optim.Adam, foreach=True)),
    Regime("adam for-loop", with_optimizer(optim.Adam, foreach=False)),
    Regime("adagrad", with_optimizer(optim.Adagrad)),
    Regime("rmsprop", with_optimizer(optim.RMSprop)),
    Regime("lr scheduler", Scheduled),
    Regime("compiled", Compiled),
    Regime("steps end it", trainer={"max_steps": 10, "epochs": -1}, presses=20),
]


def train(task: Seen, callback: L1Pruning | None, **options: Any) -> None:
    if "plugins" in options:
        options["plugins"] = options["plugins"]()
    pruning = [callback] if callback else []
    fit(task, *pruning, limit_val_batches=0, **{"epochs": EPOCHS, **options})


def pressing(penalty: Penalty, strength: float = 0.5) -> L1Pruning:
    return L1Pruning(strength, threshold=0.0, penalty=penalty, prune_at=once(0.6))


@pytest.fixture(params=REGIMES, ids=lambda regime: regime.name)
def regime(request: pytest.FixtureRequest) -> Iterator[Regime]:
    yield request.param


@pytest.mark.filterwarnings("ignore:the run ended before", "ignore:`training_step` returned `None`")
def test_pressure_comes_once_a_step_and_nothing_else_changes(regime: Regime) -> None:
    penalty = Counting()
    free, pressed = regime.task(), regime.task()
    train(free, None, **regime.trainer)
    with pytest.MonkeyPatch.context() as patch:
        # The cut would end the pressure: put it off beyond the end of the run.
        patch.setattr("l1prune.training.session.due", lambda at, share, steps: 0)
        train(pressed, pressing(penalty), **regime.trainer)
    assert penalty.calls == regime.presses
    assert pressed.losses == free.losses
    assert pressed.norms == free.norms
    for a, b in zip(free.parameters(), pressed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings(
    "ignore:.*left a single weight",
    "ignore:.*that no cut removed",
    "ignore:`training_step` returned `None`",
)
def test_the_forward_pass_sees_exact_zeros(regime: Regime) -> None:
    task = regime.task()
    train(task, pressing(L1(), strength=20.0), **regime.trainer)
    assert task.zeros_seen[0] == 0
    assert task.zeros_seen[-1] > 20


@pytest.mark.parametrize("task", [Seen, Manual])
@pytest.mark.parametrize("options", [{}, {"plugins": scaled}], ids=["float32", "scaler"])
def test_the_subgradient_presses_where_a_closure_makes_the_gradients_too(
    task: Callable[[], Seen], options: dict[str, Any]
) -> None:
    sizes = []
    for strength in (0.0, 0.1):
        pressed = task()
        train(pressed, L1Pruning(strength, 0.0, form=Subgradient()), **options)
        sizes.append(pressed.net[0].weight.abs().sum().item())
    assert sizes[1] < 0.9 * sizes[0]


def test_lbfgs_is_refused_before_the_first_step() -> None:
    task = Seen(lambda params, lr: optim.LBFGS(params, lr=lr))
    with pytest.raises(ValueError, match="LBFGS evaluates the model many times"):
        train(task, pressing(L1()))
    assert task.losses == []


def test_searching_a_learning_rate_and_a_batch_size_first_changes_nothing(
    tmp_path: pytest.TempPathFactory,
) -> None:
    penalty, task = Counting(), Seen()
    callback = pressing(penalty)
    run = trainer(callback, epochs=EPOCHS, limit_val_batches=0, default_root_dir=tmp_path)
    Tuner(run).lr_find(task, num_training=5, update_attr=False)
    Tuner(run).scale_batch_size(task, max_trials=1, steps_per_trial=1)
    assert callback.run.clock.batches == 0
    assert penalty.calls == 0
    task.batch_size = 8
    run.fit(task)
    assert callback.run.clock.batches == BATCHES * EPOCHS
    assert callback.report is not None


def test_a_second_fit_starts_anew_and_hooks_do_not_pile_up() -> None:
    penalty = Counting()
    callback, task = pressing(penalty), Seen()
    optimizer = optim.SGD(task.parameters(), lr=0.05)
    task.optimizer = lambda params, lr: optimizer  # the same optimizer each time
    train(task, callback)
    once = penalty.calls
    train(task, callback)
    assert penalty.calls == 2 * once
    assert callback.run.clock.batches == BATCHES * EPOCHS


def test_one_callback_serves_a_second_model() -> None:
    reused = L1Pruning(0.5, prune_at=once(0.5))
    first, second, alone = Seen(), Seen(), Seen()
    second.net[0].weight.data.mul_(1.5)
    alone.load_state_dict(copy.deepcopy(second.state_dict()))
    train(first, reused)
    train(second, reused)
    train(alone, L1Pruning(0.5, prune_at=once(0.5)))
    for a, b in zip(second.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a, b)
