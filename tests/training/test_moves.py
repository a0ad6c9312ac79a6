"""Whatever moves weights, every forward pass of training, validation and test sees the zeros."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from l1prune import L1Pruning


class Watched(nn.Linear):
    """A layer that notes how many of its weights are zero in each forward pass."""

    def __init__(self) -> None:
        super().__init__(8, 8)
        self.seen: list[tuple[str, int]] = []
        self.stage = "training"

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.stage, int((self.weight == 0).sum())))
        return super().forward(x)


class Task(L.LightningModule):
    """A small regression, validated and tested."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = Watched()

    def loss(self, x: Tensor) -> Tensor:
        return (self.net(x) - x).square().mean()

    def training_step(self, x: Tensor, i: int) -> Any:
        self.net.stage = "training"
        return self.loss(x)

    def validation_step(self, x: Tensor, i: int) -> None:
        self.net.stage = "validation"
        self.log("val/loss", self.loss(x))

    def test_step(self, x: Tensor, i: int) -> None:
        self.net.stage = "test"
        self.log("test/loss", self.loss(x))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.randn(64, 8, generator=torch.Generator().manual_seed(1)), 8)

    val_dataloader = test_dataloader = train_dataloader


# ---- what moves weights


class Noise(Task):
    def on_train_batch_end(self, *_: Any) -> None:
        self.net.weight.data.add_(torch.randn(8, 8), alpha=1e-3)


class NoiseBeforeTheBatch(Task):
    def on_train_epoch_start(self) -> None:
        self.net.weight.data.add_(torch.randn(8, 8), alpha=1e-3)


class Clipped(Task):
    def on_before_zero_grad(self, optimizer: Any) -> None:
        self.net.weight.data.clamp_(min=1e-3)


class NoiseWithTheData(Task):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.net.weight.data.add_(1e-3)
        return batch


class NoiseInValidation(Task):
    def on_validation_batch_end(self, *_: Any) -> None:
        self.net.weight.data.add_(1e-3)


class NoiseInEach(Task):
    """When the batch begins: after the hooks of all callbacks."""

    def on_train_batch_start(self, *_: Any) -> None:
        self.net.weight.data.add_(1e-3)


class NoiseInEachByHand(NoiseInEach):
    automatic_optimization = False

    def training_step(self, x: Tensor, i: int) -> None:
        loss, optimizer = super().training_step(x, i), self.optimizers()
        self.manual_backward(loss)
        optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad()  # type: ignore[union-attr]


class NoiseInEachEvaluation(Task):
    def on_validation_batch_start(self, *_: Any) -> None:
        self.net.weight.data.add_(1e-3)

    on_test_batch_start = on_validation_batch_start


class Noisy(L.Callback):
    """The same from a callback."""

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        module.net.weight.data.add_(1e-3)

    on_validation_batch_start = on_test_batch_start = on_train_batch_start


class StepPutIn(Task):
    """Its optimizer is one of torch's, with another step."""

    def on_train_start(self) -> None:
        optimizer: Any = self.trainer.optimizers[0]
        step = optimizer.step

        def noisy(closure: Any = None) -> Any:
            loss = step(closure)
            self.net.weight.data.add_(1e-3)
            return loss

        optimizer.step = noisy


class HooksOfItsOwn(Task):
    """Hangs on the optimizer something that moves weights after ours has held them."""

    def on_train_start(self) -> None:
        self.trainer.optimizers[0].register_step_post_hook(lambda *_: self.move())

    def move(self) -> None:
        self.net.weight.data.add_(1e-3)


class OwnStep(Task):
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.net.weight.data.add_(1e-3)


class TwoSteps(torch.optim.SGD):
    """Sharpness-aware minimisation by `first_step` and `second_step`."""

    @torch.no_grad()
    def first_step(self) -> None:
        for w in self.param_groups[0]["params"]:
            self.state[w]["up"] = 0.05 * w.grad / w.grad.norm().clamp(min=1e-9)
            w.add_(self.state[w]["up"])

    @torch.no_grad()
    def second_step(self) -> None:
        for w in self.param_groups[0]["params"]:
            momentum = self.state[w].setdefault("momentum", torch.zeros_like(w))
            momentum.mul_(0.9).add_(w.grad)
            w.sub_(self.state[w]["up"]).sub_(momentum, alpha=self.param_groups[0]["lr"])


class Manual(Task):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, x: Tensor, i: int) -> None:
        self.net.stage = "training"
        optimizer: Any = self.optimizers()
        for step in (optimizer.first_step, optimizer.second_step):
            optimizer.zero_grad()
            self.manual_backward(self.loss(x))
            step()

    def configure_optimizers(self) -> Any:
        return TwoSteps(self.parameters(), lr=0.02)


class Sharp(torch.optim.SGD):
    """Sharpness-aware minimisation in one step, which calls its closure twice."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        before = [w.clone() for w in self.param_groups[0]["params"]]
        for w in self.param_groups[0]["params"]:
            w.add_(0.1 * torch.ones_like(w))  # whatever the gradient
        with torch.enable_grad():
            closure()
        for w, old in zip(self.param_groups[0]["params"], before, strict=True):
            w.copy_(old)
        super().step()
        return loss


class WithClosure(Task):
    def configure_optimizers(self) -> Any:
        return Sharp(self.parameters(), lr=0.02, momentum=0.9)


class ScheduleFree(torch.optim.SGD):
    """Weights are swapped between a point to train at and an average (Defazio et al., 2024)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        for w in self.param_groups[0]["params"]:
            z = self.state[w].setdefault("z", w.clone())
            z.sub_(self.param_groups[0]["lr"] * w.grad)
            w.lerp_(z, 0.1)
        return loss

    @torch.no_grad()
    def swap(self, share: float) -> None:
        for w in self.param_groups[0]["params"]:
            if "z" in self.state[w]:
                w.data.lerp_(self.state[w]["z"], share)


class Swapped(Task):
    def on_validation_epoch_start(self) -> None:
        if not self.trainer.sanity_checking:
            self.trainer.optimizers[0].swap(-1.0)  # type: ignore[attr-defined]

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.trainer.optimizers[0].swap(0.5)  # type: ignore[attr-defined]

    def on_fit_end(self) -> None:
        self.trainer.optimizers[0].swap(-1.0)  # type: ignore[attr-defined]

    def configure_optimizers(self) -> Any:
        return ScheduleFree(self.parameters(), lr=0.02)


class Average(L.Callback):
    """A running average that is put in place for each validation and at the end."""

    def __init__(self) -> None:
        self.own: list[Tensor] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.mean = [w.detach().clone() for w in module.parameters()]

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        for mean, w in zip(self.mean, module.parameters(), strict=True):
            mean.lerp_(w.detach(), 0.02)

    def put(self, module: L.LightningModule) -> None:
        for mean, w in zip(self.mean, module.parameters(), strict=True):
            w.data.copy_(mean)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.own = [w.detach().clone() for w in module.parameters()]
            self.put(module)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        for own, w in zip(self.own, module.parameters(), strict=False):
            w.data.copy_(own)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.put(module)

    def on_test_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.put(module)


MOVES: dict[str, tuple[Callable[[], Task], list[Callable[[], L.Callback]]]] = {
    "noise at a batch's end": (Noise, []),
    "noise at an epoch's start": (NoiseBeforeTheBatch, []),
    "a step of the module's own": (OwnStep, []),
    "weights clipped before gradients are zeroed": (Clipped, []),
    "noise with the data": (NoiseWithTheData, []),
    "noise in validation": (NoiseInValidation, []),
    "noise when a batch begins": (NoiseInEach, []),
    "noise when a batch begins, in a manual loop": (NoiseInEachByHand, []),
    "noise when a batch of an evaluation begins": (NoiseInEachEvaluation, []),
    "noise of a callback when a batch begins": (Task, [Noisy]),
    "a step put in the place of the optimizer's": (StepPutIn, []),
    "a step hook of somebody else's": (HooksOfItsOwn, []),
    "two steps in a manual loop": (Manual, []),
    "a closure called twice": (WithClosure, []),
    "weights swapped for validation": (Swapped, []),
    "an average of a callback": (Task, [Average]),
}


def fit(task: Task, *callbacks: L.Callback, first: bool = True, **options: Any) -> Any:
    pruning = L1Pruning(0.0)
    order = [pruning, *callbacks] if first else [*callbacks, pruning]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        max_epochs=6,
        accelerator="cpu",
        callbacks=order,
        **{**quiet, "enable_checkpointing": False, **options},
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.fit(task)
        trainer.test(task, verbose=False)
    said = [str(one.message) for one in told if "removed weights" in str(one.message)]
    return pruning, said


@pytest.mark.parametrize("first", [True, False], ids=["listed first", "listed last"])
@pytest.mark.parametrize("kind", MOVES)
def test_every_forward_pass_sees_the_zeros_whatever_moves_them(kind: str, first: bool) -> None:
    make, callbacks = MOVES[kind]
    task = make()
    pruning, _ = fit(task, *(one() for one in callbacks), first=first)
    gone = int((~pruning.masks["net.weight"]).sum())
    assert gone == 61
    # The last cut comes after 60 % of six epochs of eight batches: all of the fifth see it.
    for stage, forwards in (("training", 16), ("validation", 16), ("test", 8)):
        zeros = [count for where, count in task.net.seen if where == stage]
        assert min(zeros[-forwards:]) >= gone, stage
    assert int((task.net.weight == 0).sum()) >= gone
    assert pruning.report.nonzero == int(task.net.weight.count_nonzero())


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        ("noise at a batch's end", "Noise.on_train_batch_end"),
        ("a step of the module's own", "OwnStep.optimizer_step"),
        ("an average of a callback", "Average.on_validation_start"),
        ("noise when a batch begins", "NoiseInEach.on_train_batch_start"),
        ("noise when a batch of an evaluation begins", "Evaluation.on_validation_batch_start"),
        ("noise of a callback when a batch begins", "Noisy.on_train_batch_start"),
        ("weights swapped for validation", "Swapped.on_validation_epoch_start"),
    ],
)
def test_who_moved_removed_weights_is_said_once(kind: str, who: str) -> None:
    make, callbacks = MOVES[kind]
    _, said = fit(make(), *(one() for one in callbacks))
    assert len(said) == 1
    assert who in said[0] and "net.weight" in said[0]


def test_where_nothing_moves_them_nothing_is_said() -> None:
    _, said = fit(Task())
    assert said == []


def test_a_run_that_no_optimizer_takes_along_is_refused() -> None:
    """As where weights are moved in the backward pass, and `configure_optimizers` gives nothing."""

    class InBackward(Task):
        def configure_optimizers(self) -> None:
            return None

    task = InBackward()
    with pytest.raises(ValueError, match="no optimizer of the run moves any of the weights"):
        fit(task)
    assert [stage for stage, _ in task.net.seen if stage == "training"] == []


def test_another_model_that_is_tested_keeps_its_weights() -> None:
    pruning, other = L1Pruning(0.0), Task()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_epochs=6, callbacks=[pruning], **quiet)
    trainer.fit(Task())
    trainer.test(other, verbose=False)
    assert int(other.net.weight.count_nonzero()) == 64


def test_zeros_are_seen_while_gradients_accumulate() -> None:
    task = Clipped()
    fit(task, accumulate_grad_batches=2)
    zeros = [count for where, count in task.net.seen if where == "training"]
    assert min(zeros[-8:]) >= 61


def test_what_is_saved_has_the_zeros_whatever_moved_them(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=4)
    fit(Noise(), kept, enable_checkpointing=True)
    last = max(tmp_path.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    saved = torch.load(last, weights_only=True)["state_dict"]["net.weight"]
    assert int((saved == 0).sum()) >= 61


def test_another_model_in_the_same_trainer_begins_anew() -> None:
    pruning, other = L1Pruning(0.0), Task()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_epochs=6, callbacks=[pruning], **quiet)
    trainer.fit(Task())
    trainer.fit_loop.max_epochs = 12
    trainer.fit(other)
    assert next(count for where, count in other.net.seen if where == "training") == 0
    assert pruning.phase == "tune" and pruning.report.nonzero == 3  # type: ignore[union-attr]


def test_a_compiled_network_sees_the_zeros_of_what_moves_when_a_batch_begins() -> None:
    class Compiled(NoiseInEach):
        def loss(self, x: Tensor) -> Tensor:
            return (self.fast(x) - x).square().mean()

        def on_fit_start(self) -> None:
            self.fast = torch.compile(self.net, backend="eager")

    task = Compiled()
    pruning, _ = fit(task)
    zeros = [count for where, count in task.net.seen if where == "training"]
    assert min(zeros[-16:]) >= int((~pruning.masks["net.weight"]).sum()) == 61


@pytest.mark.parametrize("kind", ["noise when a batch begins", "noise in validation"])
def test_after_a_run_nothing_of_it_hangs_on_the_strategy(kind: str) -> None:
    make, _ = MOVES[kind]
    task = make()
    fit(task)
    strategy = task.trainer.strategy
    assert not {"training_step", "validation_step", "test_step"} & set(vars(strategy))
    assert copy.deepcopy(task.net) is not task.net
