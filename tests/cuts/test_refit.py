"""Refit: what is left of a layer takes over from what was cut."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import Save, Task, fit
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from l1prune import L1Pruning, Refit, Size, Sparsity, Wanda, find_targets, once, rounds
from l1prune.cuts.refit import moments, parts, refit


def correlated(*shape: int) -> Tensor:
    """Inputs that tell much of each other."""
    mixing = torch.randn(shape[-1], shape[-1]) / shape[-1] ** 0.5
    return torch.randn(shape) @ (torch.eye(shape[-1]) * 0.3 + mixing)


def best(w: Tensor, mask: Tensor, second: Tensor, damping: float) -> Tensor:
    """The definition, output by output: a linear system of what stays."""
    inputs = second.shape[-1]
    rows, stays = w.double().reshape(-1, inputs), mask.reshape(-1, inputs)
    found = torch.zeros_like(rows)
    for number, (row, kept) in enumerate(zip(rows, stays)):
        of_group = second[number * len(second) // len(rows)].double()
        damped = of_group + damping * of_group.diagonal().mean() * torch.eye(inputs)
        found[number, kept] = torch.linalg.solve(damped[kept][:, kept], damped[kept] @ row)
    return found.view(w.shape)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_what_stays_is_the_least_squares_solution(keep: float) -> None:
    x, w = correlated(500, 12), torch.randn(6, 12)
    mask = torch.rand(6, 12) < keep
    second = (x.T @ x / 500).unsqueeze(0)
    found = refit(w, mask, second, damping=0.01, close=1e-6)
    assert torch.allclose(found.double(), best(w, mask, second, 0.01), atol=1e-4)
    assert bool((found[~mask] == 0).all())


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("most", [4, 5, 12])
def test_parts_of_an_output_are_each_the_least_squares_solution(keep: float, most: int) -> None:
    layer, x = nn.Linear(12, 6), correlated(500, 12)
    w, mask = layer.weight.detach(), torch.rand(6, 12) < keep
    total, count = moments(layer, x, most) or (torch.empty(0), 0)
    found = refit(w, mask, total / count, damping=0.01, close=1e-6)
    for part in torch.arange(12).split(parts(12, most)[1]):
        seen = x[:, part].T @ x[:, part] / 500
        padded = F.pad(seen, (0, total.shape[-1] - len(part)) * 2)  # as the mean of it is taken
        own = F.pad(w[:, part], (0, total.shape[-1] - len(part)))
        held = F.pad(mask[:, part], (0, total.shape[-1] - len(part)))
        expected = best(own, held, padded.unsqueeze(0), 0.01)[:, : len(part)]
        assert torch.allclose(found[:, part].double(), expected, atol=1e-4)


def test_the_fit_of_many_outputs_comes_as_close_as_the_solution() -> None:
    x, w = correlated(2000, 200).relu(), torch.randn(50, 200)
    second = (x.T @ x / 2000).unsqueeze(0)
    mask = torch.rand(50, 200) < 0.5

    def lost(v: Tensor) -> float:
        moved = v.double() - w.double()
        damped = second[0].double() + 0.1 * second.diagonal(dim1=1, dim2=2).mean() * torch.eye(200)
        return float(((moved @ damped) * moved).sum())

    least = lost(best(w, mask, second, 0.1))
    assert lost(refit(w, mask, second, 0.1)) <= 1.001 * least < 0.7 * lost(w * mask)


def test_an_output_is_closer_to_what_it_was_than_without() -> None:
    x, w = correlated(500, 12), torch.randn(6, 12)
    mask = w.abs() > w.abs().median()
    before, cut = F.linear(x, w), F.linear(x, w * mask)
    found = F.linear(x, refit(w, mask, (x.T @ x / 500).unsqueeze(0), 0.01))
    assert (found - before).square().mean() < 0.7 * (cut - before).square().mean()


def test_nothing_moves_where_nothing_is_cut_or_inputs_are_not_related() -> None:
    w = torch.randn(4, 6)
    related = torch.rand(1, 6, 6)
    assert torch.equal(refit(w, torch.ones(4, 6).bool(), related @ related.mT, 0.01), w)
    mask = torch.rand(4, 6) < 0.5
    alone = torch.diag_embed(torch.rand(1, 6) + 0.1)
    assert torch.allclose(refit(w, mask, alone, 0.01), w * mask)


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4, bias=False), (5, 3, 6)),
    "line": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (5, 4, 9)),
    "image": (lambda: nn.Conv2d(4, 6, (3, 2), 1, (1, 0), 2, bias=False), (5, 4, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False), (5, 4, 6, 6)),
    "mirrored": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", bias=False), (5, 2, 6, 6),
    ),
    "one alone": (lambda: nn.Conv2d(2, 3, 3, bias=False), (2, 6, 6)),
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_moments_are_those_of_what_each_output_sees(
    make: Callable[[], Any], shape: tuple[int, ...]
) -> None:
    layer, x = make(), torch.randn(shape)
    found = moments(layer, x, most=1000)
    assert found is not None
    total, count = found
    rows = layer.weight.detach().reshape(len(total), -1, total.shape[-1])
    squares = (rows @ total * rows).sum() / count
    outputs = layer(x).detach()
    each = outputs.numel() / count / len(total)  # outputs of a group
    assert squares.item() == pytest.approx(outputs.square().sum().item() / count, rel=1e-4)
    assert each == rows.shape[1]


def after_cut(layer: Any, x: Tensor, criterion: Refit, keep: float = 0.5) -> tuple[Tensor, Tensor]:
    """The layer's weight before, and refitted."""
    targets = find_targets(layer)
    with criterion.watch(layer, targets):
        layer(x)
    before = layer.weight.detach().clone()
    criterion.refit_(targets, {"weight": torch.rand(before.shape) < keep})
    return before, layer.weight.detach()


def test_the_moments_of_a_wide_layer_grow_with_its_width_and_no_faster() -> None:
    for width in (600, 1200, 2400):
        total, _ = moments(nn.Linear(width, 4), torch.randn(5, width), most=100) or (None, 0)
        assert total is not None and total.numel() == 100 * width
    before, after = after_cut(nn.Linear(6, 4), correlated(50, 6), Refit(most=5))
    assert not torch.equal(before, after)


def test_no_more_is_looked_at_than_a_fit_needs() -> None:
    layer, criterion, x = nn.Linear(6, 4), Refit(), correlated(100, 6)
    with criterion.watch(layer, find_targets(layer)):
        layer(x)  # 96 are enough
        enough = criterion._moments.mean("weight")
        layer(100 * x)
        again = criterion._moments.mean("weight")
        assert enough is not None and again is not None and torch.equal(enough, again)
        criterion.refit_(find_targets(layer), {"weight": torch.ones(4, 6, dtype=torch.bool)})
        layer(100 * x)
        later = criterion._moments.mean("weight")
        assert later is not None and not torch.allclose(enough, later)


def test_inputs_that_are_not_finite_move_nothing() -> None:
    x = correlated(50, 6)
    x[0, 0] = torch.nan
    before, after = after_cut(nn.Linear(6, 4), x, Refit())
    assert torch.equal(before, after)


def test_a_batch_that_is_not_finite_is_left_out_and_no_other() -> None:
    layer, criterion, x = nn.Linear(6, 4), Refit(), correlated(50, 6)
    with criterion.watch(layer, find_targets(layer)):
        layer(torch.full((5, 6), torch.inf))
        layer(x)
    mean = criterion._moments.mean("weight")
    assert mean is not None and torch.allclose(mean, (x.T @ x / 50).unsqueeze(0), atol=1e-5)


class Flattened(nn.Linear):
    """Of a class of the user's own, which does something with its input first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (Flattened(6, 4), torch.randn(8, 2, 3)),
        (nn.Conv3d(1, 2, 2), torch.randn(2, 1, 4, 4, 4)),
        (nn.Conv2d(1, 2, 2), torch.randn(0, 1, 4, 4)),
    ],
    ids=["derived", "other", "empty"],
)
def test_what_is_not_known_is_left_as_it_is(layer: Any, x: Tensor) -> None:
    before, after = after_cut(layer, x, Refit())
    assert torch.equal(before, after)


def test_an_input_by_keyword_is_seen_and_one_that_is_transformed_is_not() -> None:
    layer, criterion = nn.Linear(6, 4), Refit()
    with criterion.watch(layer, find_targets(layer)):
        torch.vmap(layer)(torch.randn(5, 6))
        with torch.inference_mode():
            layer(torch.randn(5, 6))
        assert criterion._moments.mean("weight") is None
        layer(input=torch.randn(5, 6))
    assert criterion._moments.mean("weight") is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_moments_are_exact_under_autocast(dtype: torch.dtype) -> None:
    layer, criterion, x = nn.Linear(6, 4), Refit(), correlated(50, 6)
    with criterion.watch(layer, find_targets(layer)), torch.autocast("cpu", dtype):
        layer(x)
    mean = criterion._moments.mean("weight")
    assert mean is not None and torch.allclose(mean, (x.T @ x / 50).unsqueeze(0), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_run_in_half_precision_refits(precision: str) -> None:
    task, callback = Task(), L1Pruning.finetune(threshold=Sparsity(0.8))
    fit(task, callback, epochs=12, precision=precision)
    assert callback.report is not None and callback.report.sparsity == 0.8


def test_a_layer_that_is_replaced_by_a_wider_one_is_fitted_to_its_own_inputs() -> None:
    criterion = Refit()
    for width in (6, 9):
        layer, x = nn.Linear(width, 4), correlated(50, width)
        before, after = after_cut(layer, x, criterion)
        assert not torch.equal(before, after)


def test_a_copy_of_a_model_that_is_watched_is_not_watched() -> None:
    layer, criterion = nn.Linear(6, 4), Refit()
    with criterion.watch(layer, find_targets(layer)):
        teacher = pickle.loads(pickle.dumps(layer))
        copied = copy.deepcopy(layer)
        for one in (teacher, copied):
            one(torch.randn(5, 6))
        assert criterion._moments.mean("weight") is None


def test_only_what_is_seen_in_training_counts() -> None:
    before, after = after_cut(nn.Linear(6, 4).eval(), correlated(50, 6), Refit())
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "arguments", [{"criterion": "saliency"}, {"damping": 0.0}, {"damping": -1}, {"most": 0}]
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Refit(**arguments)


def test_the_criterion_of_a_finetune_is_refitted() -> None:
    assert str(L1Pruning.finetune(criterion=Size()).recipe.criterion).startswith("Refit(Size()")
    assert L1Pruning.finetune(strength=0.5).strength == 0.5


@pytest.mark.parametrize("inner", [None, Wanda()], ids=str)
def test_a_run_that_was_stopped_refits_as_the_one_that_was_not(tmp_path: Path, inner: Any) -> None:
    def pruning() -> L1Pruning:
        return L1Pruning.finetune(
            threshold=Sparsity(0.8), prune_at=rounds(0.2, 0.8, 12), criterion=inner
        )

    whole, again = Task(), Task()
    fit(whole, pruning(), Save(tmp_path / "half.ckpt", epochs=5), epochs=10)
    fit(again, pruning(), epochs=10, resume=tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_trained_network_loses_less_to_a_large_cut() -> None:
    x = torch.randn(200, 3) @ torch.randn(3, 8) + 0.1 * torch.randn(200, 8)
    data = TensorDataset(x, torch.tanh(x[:, :2]))
    dense = Task(data=data)
    fit(dense, epochs=20)

    def lost(criterion: Any) -> float:
        task = Task(copy.deepcopy(dense.net), partial(torch.optim.SGD, lr=0.0), data)
        fit(task, L1Pruning(0.0, Sparsity(0.7), prune_at=once(0.5), criterion=criterion), epochs=4)
        return sum(task.losses[-20:]) - sum(task.losses[:20])

    assert lost(Refit(Size())) < 0.5 * lost(Size())


def test_what_refits_by_itself_is_not_refitted_again() -> None:
    with pytest.raises(ValueError, match="refits by itself"):
        Refit(Refit())
