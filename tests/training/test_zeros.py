"""What is removed stays exactly zero: in every forward, in every file, at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from tasks import Task, fit
from torch import Tensor, optim

from l1prune import Follow, L1Pruning, Proximal, Sparsity, once
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.passes import Pass
from l1prune.pressure.schedules import Constant
from l1prune.training import zeros

EPOCHS, BATCHES = 4, 5
CUT = EPOCHS * BATCHES // 2


class Counting(Task):
    """Counts, at each forward after the cut, the removed weights that are not +0.0."""

    def __init__(self, pruning: L1Pruning | None, make: Callable[..., Any] = optim.SGD) -> None:
        super().__init__(optimizer=partial(make, lr=0.02))
        self.pruning = pruning
        self.broken: list[int] = []

    def loss(self, batch: list[Tensor]) -> Tensor:
        if self.pruning is not None and self.pruning.phase == "tune":
            self.broken.append(self.spoilt(self.pruning))
        return super().loss(batch)

    def spoilt(self, pruning: L1Pruning) -> int:
        return broken(dict(self.named_parameters()), pruning.masks)


def broken(weights: dict[str, Tensor], kept: dict[str, Tensor]) -> int:
    """How many removed weights are anything but +0.0."""
    assert set(kept) <= set(weights)
    gone = [weights[name].detach()[~mask] for name, mask in kept.items()]
    assert sum(w.numel() for w in gone) == 240
    return sum(int(((w != 0) | w.signbit()).sum()) for w in gone)


class Spoiled(Counting):
    """Two batches after the cut, the loss is multiplied by `factor`."""

    factor = float("nan")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        spoilt = self.current_epoch == 2 and batch_idx in (1, 2)
        return self.loss(batch) * (self.factor if spoilt else 1.0)


class Overflowing(Spoiled):
    factor = float("inf")


class SkippingBatches(Counting):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        return None if batch_idx == 1 else self.loss(batch)


class Manual(Counting):
    """Clips by itself."""

    automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        self.clip_gradients(optimizer, 0.01, "norm")
        optimizer.step()


class Compiled(Counting):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.net = torch.compile(self.net, backend="eager")


@dataclass(frozen=True)
class Regime:
    name: str
    task: type[Counting] = Counting
    make: Callable[..., Any] = optim.SGD
    options: dict[str, Any] = field(default_factory=dict)


def using(make: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda params, lr: make(params, lr=lr, **options)


def scaled() -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))


MOMENTUM = using(optim.SGD, momentum=0.9, weight_decay=0.1)
ADAMW = using(optim.AdamW, weight_decay=0.1)
REGIMES = [
    Regime("momentum, decay", make=MOMENTUM),
    Regime("nesterov", make=using(optim.SGD, momentum=0.9, nesterov=True)),
    Regime("adam", make=using(optim.Adam, weight_decay=0.1)),
    Regime("adam amsgrad", make=using(optim.Adam, amsgrad=True)),
    Regime("adamw", make=ADAMW),
    Regime("adamw fused", make=using(optim.AdamW, fused=True)),
    Regime("NaN, momentum", Spoiled, MOMENTUM),
    Regime("NaN, adamw", Spoiled, ADAMW),
    Regime("infinity, adamw", Overflowing, ADAMW),
    Regime("no loss", SkippingBatches, MOMENTUM),
    Regime("accumulate", make=ADAMW, options={"accumulate_grad_batches": 2}),
    Regime("clip norm", make=MOMENTUM, options={"gradient_clip_val": 0.01}),
    Regime(
        "clip value",
        make=MOMENTUM,
        options={"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ),
    Regime("manual", Manual, MOMENTUM),
    Regime("bf16", make=ADAMW, options={"precision": "bf16-true"}),
    Regime("fp16", make=MOMENTUM, options={"precision": "16-true"}),
    Regime("scaler skips", Overflowing, ADAMW, {"plugins": scaled}),
    Regime("fused scaler skips", Overflowing, using(optim.AdamW, fused=True), {"plugins": scaled}),
    Regime("compiled", Compiled, ADAMW),
]


def pruned() -> L1Pruning:
    return L1Pruning(0.01, Sparsity(0.8), prune_at=once(0.5))


def train(task: Counting, *callbacks: L.Callback, **options: Any) -> None:
    if "plugins" in options:
        options["plugins"] = options["plugins"]()
    pruning = [task.pruning] if task.pruning else []
    fit(task, *pruning, *callbacks, epochs=EPOCHS, **options)


def weights(path: Path) -> dict[str, Tensor]:
    """A checkpoint's weights, by names that the bare model knows."""
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    Counting(None).load_state_dict({k.replace("_orig_mod.", ""): w for k, w in state.items()})
    return state


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_zeros_are_held(regime: Regime, tmp_path: Path) -> None:
    pruning = pruned()
    task = regime.task(pruning, regime.make)
    saves = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    train(task, saves, **regime.options)
    assert len(task.broken) > CUT  # the trainer's batches and those of two validations
    assert not any(task.broken)
    assert broken(dict(task.named_parameters()), pruning.masks) == 0
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) > CUT
    for path in files[-2:]:
        assert broken(weights(path), pruning.masks) == 0
    survivors = torch.cat([task.get_parameter(n)[m] for n, m in pruning.masks.items()])
    spoilt = isinstance(task, Spoiled) and "plugins" not in regime.options
    assert survivors.isnan().any() == spoilt


@pytest.mark.parametrize(
    ("task", "options"),
    [(Counting, {"gradient_clip_val": 0.01}), (Manual, {})],
    ids=["auto", "manual"],
)
def test_removed_weights_use_no_clip_budget(task: type[Counting], options: dict[str, Any]) -> None:
    norms: list[Tensor] = []
    pruning = pruned()

    class Watched(task):  # type: ignore[valid-type, misc]
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            optimizer.register_step_post_hook(self.look)
            return optimizer

        def look(self, *_: Any) -> None:
            if pruning.phase == "tune":
                kept = [
                    w.grad[pruning.masks[name]] if name in pruning.masks else w.grad
                    for name, w in self.named_parameters()
                ]
                norms.append(torch.cat([g.flatten() for g in kept]).norm())

    train(Watched(pruning), **options)
    assert len(norms) == CUT
    torch.testing.assert_close(torch.stack(norms), torch.full((CUT,), 0.01), rtol=1e-3, atol=0)


def test_best_and_weights_only_files_hold_their_zeros(tmp_path: Path) -> None:
    pruning = pruned()
    best = ModelCheckpoint(tmp_path, "best", "params/nonzero", mode="min")
    last = ModelCheckpoint(tmp_path, "last", save_weights_only=True)
    train(Counting(pruning), best, last)
    for name in ("best", "last"):
        assert broken(weights(tmp_path / f"{name}.ckpt"), pruning.masks) == 0


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Lightning turns Ctrl-C off once it was pressed."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.filterwarnings("ignore:An .* was raised with message")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("where", ["forward", "step", "cut"])
def test_a_file_saved_on_an_exception_holds_its_zeros_and_goes_on(
    where: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning = pruned()

    class Broken(Counting):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
            if where == "forward" and len(self.broken) == 3:
                raise error
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            optimizer = optim.AdamW(self.parameters(), lr=0.02)
            # It comes before the hook that holds the zeros: the weights have moved.
            optimizer.register_step_post_hook(self.step_made)
            return optimizer

        def step_made(self, *_: Any) -> None:
            if where == "step" and len(self.broken) == 3:
                raise error

    class Stopping(Dispatch):
        stops = True  # only the first time: then it goes on

        def run(self, passes: Sequence[Pass]) -> None:
            stops, Stopping.stops = Stopping.stops, False
            super().run(passes[:1] if stops else passes)
            if stops:
                raise error

    if where == "cut":
        monkeypatch.setattr(zeros, "Dispatch", Stopping)
    saves = ModelCheckpoint(tmp_path, "stopped", every_n_train_steps=100, save_on_exception=True)
    with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
        train(Broken(pruning), saves)
    (path,) = tmp_path.iterdir()
    assert broken(weights(path), pruning.masks) == 0
    resumed = Counting(pruned(), optim.AdamW)
    train(resumed, resume=path)
    assert resumed.pruning is not None and resumed.pruning.report is not None
    assert resumed.pruning.report.sparsity == 0.8
    assert not any(resumed.broken)


def test_compiled_models_are_compiled_no_more_often_than_dense_ones() -> None:
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph.code)
        return graph.forward

    def count(pruning: L1Pruning | None) -> int:
        torch._dynamo.reset()
        graphs.clear()
        task = Counting(pruning)
        task.net = torch.compile(task.net, backend=backend)
        train(task)
        return len(graphs)

    rounds = L1Pruning(0.01, Sparsity(0.8), prune_at=[0.2, 0.3, 0.4, 0.5])
    assert 0 < count(rounds) <= count(None)
    assert rounds.report is not None and rounds.report.sparsity == 0.8


@pytest.mark.filterwarnings("ignore:.*left a single weight", "ignore:.*that no cut removed")
@pytest.mark.parametrize("strength", [Follow(), Constant(20.0)], ids=["controlled", "constant"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_no_zero_is_negative(strength: Constant | Follow, sparsity: float) -> None:
    class Signs(Counting):
        def spoilt(self, pruning: L1Pruning) -> int:
            return sum(negative(w) for w in self.parameters())

    def negative(w: Tensor) -> int:
        return int((w.signbit() & (w == 0)).sum())

    task = Signs(L1Pruning(strength, Sparsity(sparsity), prune_at=once(0.5), form=Proximal()))
    train(task)
    assert not any(task.broken)
