"""Wanda: a weight is worth its size, times the root mean square of what it multiplies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tasks import Task, fit
from torch import Tensor, nn

from l1prune import L1Pruning, Sparsity, Wanda, find_targets, rounds
from l1prune.cuts.inputs import KEPT
from l1prune.cuts.scopes import PerOutput


def inputs(*shape: int, seed: int = 0) -> Tensor:
    """Each feature of its own size."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x * torch.arange(1.0, shape[-1] + 1)


def norms(wanda: Wanda, net: nn.Module) -> Tensor:
    """By what each weight is multiplied."""
    (target, *_) = find_targets(net)
    with torch.no_grad():
        target.parameter.fill_(1.0)
    return wanda.weigh(find_targets(net), [])[0].detach()


def seen_by(net: nn.Module, *batches: Tensor) -> Wanda:
    wanda = Wanda()
    with wanda.watch(net, find_targets(net)):
        for batch in batches:
            net(batch)
    return wanda


def rms(x: Tensor, feature: int) -> Tensor:
    """The root mean square of each entry of a dimension, over all others."""
    return x.movedim(feature, -1).reshape(-1, x.shape[feature]).double().square().mean(0).sqrt()


CONVOLUTIONS: list[tuple[Callable[..., nn.Module], int]] = [
    (nn.Conv1d, 1),
    (nn.Conv2d, 2),
    (nn.Conv3d, 3),
]


@pytest.mark.parametrize("shape", [(10, 6), (4, 5, 6), (2, 3, 4, 6)], ids=str)
def test_of_a_linear_layer_each_input_has_its_norm(shape: tuple[int, ...]) -> None:
    net, x = nn.Linear(6, 3), inputs(*shape)
    expected = rms(x, -1).float().expand(3, 6)
    torch.testing.assert_close(norms(seen_by(net, x), net), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("kind", "dimensions"), CONVOLUTIONS)
def test_of_a_convolution_each_channel_has_its_norm_whatever_the_groups(
    kind: Any, dimensions: int, groups: int
) -> None:
    net = kind(4, 8, 3, groups=groups, padding=1)
    x = inputs(5, *[6] * dimensions, 4).movedim(-1, 1)
    made, by_channel = norms(seen_by(net, x), net), rms(x, 1).float()
    for output in range(8):
        group = output // (8 // groups)
        for within in range(4 // groups):
            channel = by_channel[group * (4 // groups) + within]
            torch.testing.assert_close(
                made[output, within], channel.expand_as(made[output, within])
            )


@pytest.mark.parametrize("groups", [1, 2])
def test_of_a_transposed_convolution_the_inputs_come_first(groups: int) -> None:
    net, x = nn.ConvTranspose2d(4, 8, 3, groups=groups), inputs(5, 6, 6, 4).movedim(-1, 1)
    expected = rms(x, 1).float().view(4, 1, 1, 1).expand(4, 8 // groups, 3, 3)
    torch.testing.assert_close(norms(seen_by(net, x), net), expected)


def test_an_image_without_a_batch_is_one_image() -> None:
    net, x = nn.Conv2d(4, 8, 3), inputs(6, 6, 4).movedim(-1, 0)
    expected = rms(x, 0).float().view(1, 4, 1, 1).expand(8, 4, 3, 3)
    torch.testing.assert_close(norms(seen_by(net, x), net), expected)


def test_uneven_batches_count_by_their_examples() -> None:
    net, x = nn.Linear(6, 3), inputs(10, 6)
    made = norms(seen_by(net, x[:1], x[1:]), net)
    torch.testing.assert_close(made, rms(x, -1).float().expand(3, 6))


def test_a_cut_halves_what_the_inputs_before_it_count() -> None:
    net, old, new = nn.Linear(6, 3), inputs(10, 6), inputs(10, 6, seed=1) * 3
    wanda = seen_by(net, old)
    wanda.weigh(find_targets(net), [])
    with wanda.watch(net, find_targets(net)):
        net(new)
    squares = (KEPT * rms(old, -1).square() + rms(new, -1).square()) / (1 + KEPT)
    torch.testing.assert_close(norms(wanda, net), squares.sqrt().float().expand(3, 6))


def test_only_training_is_looked_at() -> None:
    net, x = nn.Linear(6, 3), inputs(10, 6)
    wanda = Wanda()
    with wanda.watch(net, find_targets(net)):
        net(x)
        net.eval()(inputs(10, 6, seed=1) * 100)
    torch.testing.assert_close(norms(wanda, net), rms(x, -1).float().expand(3, 6))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_squares_do_not_overflow_and_worths_are_of_the_weights_type(dtype: torch.dtype) -> None:
    net, x = nn.Linear(6, 3, dtype=dtype), (1000 * inputs(10, 6)).to(dtype)
    made = norms(seen_by(net, x), net)
    assert made.dtype == dtype and bool(made.isfinite().all())
    torch.testing.assert_close(made.double(), rms(x, -1).expand(3, 6), rtol=0.01, atol=0.0)


def test_a_layer_that_is_not_known_is_weighed_by_size() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(self.lstm(x)[0])
            return y

    net = Recurrent()
    targets = find_targets(net)
    worth = dict(zip([t.name for t in targets], seen_by(net, inputs(3, 5, 6)).weigh(targets, [])))
    for target in targets:
        assert torch.equal(worth[target.name], target.parameter) == ("lstm" in target.name)


def test_layers_do_not_compare_each_output_loses_its_share() -> None:
    assert Wanda().scope == PerOutput()


def test_its_state_survives_a_file_to_the_bit(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    targets, one = find_targets(net), seen_by(net, inputs(7, 6))
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other = Wanda()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        for wanda in (one, other):
            with wanda.watch(net, targets):
                net(inputs(7, 6, seed=1))
        for a, b in zip(one.weigh(targets, []), other.weigh(targets, []), strict=True):
            assert torch.equal(a, b)


def test_what_two_processes_saw_one_goes_on_with() -> None:
    net, x = nn.Linear(6, 3), inputs(10, 6)
    (first,), (second,) = (seen_by(net, part).state_dict()["inputs"] for part in (x[:4], x[4:]))
    wanda = Wanda()
    wanda.load_state_dict({"inputs": [first, second]})
    torch.testing.assert_close(norms(wanda, net), rms(x, -1).float().expand(3, 6))


# ---- in a run


def pruning() -> L1Pruning:
    return L1Pruning(0.0, Sparsity(0.7), prune_at=rounds(0.2, 0.7, 5), criterion=Wanda())


def every_epoch(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in net.modules())


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_resumed_run_cuts_as_the_run_that_was_not_stopped(
    tmp_path: Path, epochs_done: int
) -> None:
    whole, resumed = Task(), Task()
    first, again = pruning(), pruning()
    fit(whole, first, every_epoch(tmp_path))
    path = tmp_path / f"epoch={epochs_done - 1}.ckpt"
    fit(resumed, again, every_epoch(tmp_path), resume=path)
    assert first.masks.keys() == again.masks.keys() != set()
    assert all(torch.equal(first.masks[name], again.masks[name]) for name in first.masks)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert again.report is not None and again.report.criterion == "Wanda()"


def test_validation_changes_nothing() -> None:
    masks = []
    for limit in (0, 1.0):
        callback = pruning()
        fit(Task(), callback, limit_val_batches=limit)
        masks.append(callback.masks)
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


def test_hooks_are_there_until_the_last_cut_and_no_longer() -> None:
    counts: list[tuple[str, int]] = []
    callback, task = pruning(), Task()

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, module: nn.Module, *_: Any) -> None:
            counts.append((callback.phase, hooks(module)))

    fit(task, callback, Look())
    assert set(counts) == {("press", 2), ("tune", 0)}
    assert hooks(task) == 0


@pytest.mark.parametrize("batches", [1, 6, 18])
def test_hooks_are_gone_after_an_exception(batches: int) -> None:
    class StopError(Exception):
        pass

    class Stopping(Task):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
            if len(self.losses) == batches:
                raise StopError
            return super().training_step(batch, batch_idx)

    task = Stopping()
    with pytest.raises(StopError):
        fit(task, pruning())
    assert hooks(task) == 0


def test_each_output_has_lost_the_same_share() -> None:
    callback = pruning()
    fit(Task(), callback)
    for mask in callback.masks.values():
        left = mask.sum(1)
        assert left.max() - left.min() <= 1
