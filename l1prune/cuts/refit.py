"""Refit: what is left of a layer takes over from what was cut.

Source: Hassibi & Stork, "Second order derivatives for network pruning: optimal brain surgeon",
NeurIPS 1992; layer by layer, on what comes in: Dong, Chen & Pan, "Learning to prune deep neural
networks via layer-wise optimal brain surgeon", NeurIPS 2017; Frantar & Alistarh, "SparseGPT",
ICML 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import Conv1d, Conv2d
from torch.optim import Optimizer

from l1prune.checks import check_object, is_number, is_whole
from l1prune.cuts.criteria import (
    Criterion,
    FollowingCriterion,
    RefittingCriterion,
    lent,
)
from l1prune.cuts.inputs import InputSums
from l1prune.cuts.saliency import Saliency
from l1prune.cuts.scopes import Scope
from l1prune.weights.shards import is_sharded, local
from l1prune.weights.targets import Target

ITERATIONS = 30
"""The most of the conjugate gradients: what is cut at a time is little, and the start is near."""

CLOSE = 1e-2
"""How little of the gradient is left at which they end."""

ROWS, WIDTH = 512, 576
"""Examples and places of a batch that are looked at, up to which width: of wider parts fewer are,
so that a step costs little more."""

ENOUGH = 16.0
"""Of these for each input that is fitted, at which no more are looked at before the next cut."""


class Refit(RefittingCriterion, FollowingCriterion):
    """Weights are worth what another criterion says, and after a cut those left are fitted anew.

    The weights that stay of each output are moved to where it comes closest, in least squares over
    the inputs since the last cut, to what it was before. So a network loses less at each cut and
    has less to learn again: for a trained one that is to be pruned in few passes. Until the last
    cut, (inputs)² numbers a layer are kept, the second moments of `ROWS` of its inputs in a batch;
    a cut costs at most `ITERATIONS` products of them with the layer's weights. A layer with more
    than `most` inputs is fitted part by part, each to what itself gave to an output: all of it
    then grows with the layer's weights, and no faster.

    `nn.Linear`, `nn.Conv1d` and `nn.Conv2d` are fitted. Left as they are: classes derived from
    them, others, such as an LSTM, and what `nn.MultiheadAttention` has within it; weights that are
    sharded over processes. A weight that is used elsewhere too, as in a tied autoencoder, is fitted
    to its layer's inputs alone: leave it out of `targets`.

    Args:
        criterion: what weights are worth; by default `Saliency()`.
        damping: of the fit, relative to the inputs' mean square, > 0: the larger, the less moves.
        most: inputs that are fitted together, ≥ 1; a kernel has as many as it covers.

    Raises:
        ValueError: an argument makes no sense.

    >>> Refit()
    Refit(Saliency(least=0.6, shrinkage=0.5), damping=0.1, most=1152)
    """

    def __init__(
        self, criterion: Criterion | None = None, damping: float = 0.1, most: int = 1152
    ) -> None:
        if criterion is not None:
            check_object("criterion", criterion, ("check", "watch", "weigh"), "Saliency()")
        if isinstance(criterion, RefittingCriterion):
            raise ValueError(
                f"criterion={criterion!r} refits by itself, and what is around it would not ask it "
                "to: give what it weighs by, or L1Pruning(criterion=Refit(…), rewind=HoldPeak())"
            )
        if not is_number(damping, 0) or damping == 0:
            raise ValueError(f"damping must be a finite number > 0, got {damping!r}")
        if not is_whole(most, 1):
            raise ValueError(f"most must be a whole number of inputs ≥ 1, got {most!r}")
        self.criterion = Saliency() if criterion is None else criterion
        self.damping, self.most = damping, most
        self._moments = InputSums(self._seen, ENOUGH)

    def __repr__(self) -> str:
        return f"Refit({self.criterion!r}, damping={self.damping}, most={self.most})"

    @property
    def scope(self) -> Scope:
        return self.criterion.scope

    def check(self, optimizers: Sequence[Optimizer]) -> None:
        self.criterion.check(optimizers)

    def watch(self, model: nn.Module, targets: Sequence[Target]) -> AbstractContextManager[Any]:
        both = ExitStack()
        both.enter_context(self.criterion.watch(model, targets))
        whole = [target for target in targets if not is_sharded(target.parameter)]
        both.enter_context(self._moments.watch(model, whole))
        return both

    def follow(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[Any]:
        if isinstance(self.criterion, FollowingCriterion):
            return self.criterion.follow(targets, optimizers)
        return nullcontext()

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        return self.criterion.weigh(targets, optimizers)

    def lend(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[list[Tensor]]:
        return lent(self.criterion, targets, optimizers)

    @torch.no_grad()
    def refit_(self, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        for target in targets:
            mean, w = self._moments.mean(target.name), local(target.parameter)
            mask = masks.get(target.name)
            if mean is None or mask is None or not self._is_of(mean, w):
                continue  # the last: inputs of a layer that has been replaced
            fitted = refit(w, mask.to(w.device), mean.to(w.device), self.damping)
            if bool(fitted.isfinite().all()):
                w.copy_(fitted)
        self._moments.forget_half()

    def state_dict(self) -> dict[str, Any]:
        return {"criterion": self.criterion.state_dict(), **self._moments.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.criterion.load_state_dict(state["criterion"])
        self._moments.load_state_dict(state)

    def _is_of(self, second: Tensor, w: Tensor) -> bool:
        count, size = parts(w[0].numel(), self.most)
        groups, rest = divmod(len(second), count)
        return second.shape[-1] == size and not rest and not len(w) % groups

    def _seen(self, module: nn.Module, x: Tensor) -> tuple[Tensor, int] | None:
        return moments(module, x, self.most)


def parts(inputs: int, most: int) -> tuple[int, int]:
    """Into how many parts inputs go of which at most so many are fitted together, and their size.

    >>> parts(4608, 1152), parts(1153, 1152)
    ((4, 1152), (2, 577))
    """
    count = -(-inputs // most)
    return count, -(-inputs // count)


def moments(module: nn.Module, x: Tensor, most: int) -> tuple[Tensor, int] | None:
    """Σ xxᵀ over what each output of a layer sees of a batch, ``(groups × parts, size, size)``.

    Of many examples and places, some are taken. None: the layer is of another kind, or does
    something else with its input.

    >>> total, count = moments(nn.Conv2d(4, 6, 3, groups=2), torch.ones(5, 4, 8, 8), most=20)
    >>> total.shape, count
    (torch.Size([2, 18, 18]), 180)
    """
    # Whatever is derived from these may do something else before.
    if type(module) not in (nn.Linear, Conv1d, Conv2d):
        return None
    assert isinstance(module, nn.Linear | Conv1d | Conv2d)
    size = parts(module.weight[0].numel(), most)[1]
    rows = max(min(ROWS, ROWS * WIDTH // size), 1)
    columns = _columns(module, x, rows)
    if columns is None:
        return None
    columns = _in_parts(columns[:, :: -(-columns.shape[1] // rows) or 1].float(), size)
    return columns.transpose(1, 2) @ columns, columns.shape[1]


def _in_parts(rows: Tensor, size: int) -> Tensor:
    """``(groups, rows, inputs)`` as ``(groups × parts, rows, size)``; zeros fill up the last."""
    whole = F.pad(rows, (0, -rows.shape[-1] % size))
    return whole.reshape(*rows.shape[:2], -1, size).transpose(1, 2).flatten(0, 1)


def _together(apart: Tensor, groups: int, inputs: int) -> Tensor:
    """The inverse of `_in_parts`."""
    whole = apart.reshape(groups, -1, *apart.shape[1:]).transpose(1, 2).flatten(2)
    return whole[..., :inputs]


def _columns(module: nn.Linear | Conv1d | Conv2d, x: Tensor, rows: int) -> Tensor | None:
    """What the outputs of a layer see, ``(groups, examples and places, inputs)``.

    At least so many examples and places, where there are.
    """
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1]) if x.shape[-1] == module.in_features else None
    if not x.numel():
        return None
    padding: list[int] = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = x if x.ndim == len(module.kernel_size) + 2 else x.unsqueeze(0)
    # The unfolded input is as large as the kernel many times over: of no more than is looked at.
    places = max(math.prod(x.shape[2:]) // math.prod(module.stride), 1)
    x = F.pad(x[: -(-rows // places)].float(), padding, mode)
    if x.ndim == 3:  # a line is an image of one row
        x = x.unsqueeze(2)
    kernel, dilation, stride = (
        (1, *each)[-2:] for each in (module.kernel_size, module.dilation, module.stride)
    )
    seen = F.unfold(x, kernel, dilation, 0, stride)  # (B, channels × kernel, places)
    groups = seen.view(len(seen), module.groups, -1, seen.shape[-1])
    return groups.permute(1, 0, 3, 2).flatten(1, 2)


def refit(w: Tensor, mask: Tensor, second: Tensor, damping: float, close: float = CLOSE) -> Tensor:
    """The weights within a mask that give each output least squares closest to what it was.

    Minimises (v − w)·H·(v − w)ᵀ for each output over v that are zero outside the mask, with H the
    inputs' second moments, damped; by conjugate gradients, for all outputs at once. Where H has
    fewer inputs than an output, it is of parts of them, in order, and zero between any two.

    Args:
        w: the weights before the cut, ``(outputs, …)``.
        mask: what stays, of their shape.
        second: the mean of xxᵀ, ``(groups × parts, size, size)``: groups of outputs in order.
        damping: added to the diagonal of H, relative to its mean, > 0.
        close: how little, of the gradient that there was, may be left.

    >>> alike = torch.ones(1, 2, 2)  # two inputs that are always equal
    >>> refit(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, False]]), alike, 1e-6)
    tensor([[3.0000, 0.0000]])
    """
    inputs, size = w[0].numel(), second.shape[-1]
    groups = len(second) // -(-inputs // size)
    start = _in_parts(w.float().reshape(groups, -1, inputs), size)
    stays = _in_parts(mask.to(start).reshape(groups, -1, inputs), size)
    diagonal = second.diagonal(dim1=1, dim2=2)
    extra = diagonal.mean(1, keepdim=True).mul(damping).clamp_(min=torch.finfo(start.dtype).tiny)
    damped = second + torch.diag_embed(extra.expand_as(diagonal))
    moved = _solved(damped, ((start * (1 - stays)) @ damped).mul_(stays), stays, close)
    return _together((start + moved) * stays, groups, inputs).reshape(w.shape).to(w.dtype)


def _solved(damped: Tensor, rest: Tensor, stays: Tensor, close: float) -> Tensor:
    """The rows v, zero outside of what stays, at which v·H is nearest to given ones there."""
    scale = damped.diagonal(dim1=1, dim2=2).unsqueeze(1)
    found = torch.zeros_like(rest)
    towards = ready = rest / scale
    left = (rest * ready).sum(-1, keepdim=True)
    enough = left * close**2
    for _ in range(ITERATIONS):
        if bool((left <= enough).all()):
            break
        along = (towards @ damped).mul_(stays)
        step = left / (towards * along).sum(-1, keepdim=True).clamp_(min=1e-30)
        found += step * towards
        rest = rest - step * along
        ready = rest / scale
        before, left = left, (rest * ready).sum(-1, keepdim=True)
        towards = ready + left / before.clamp(min=1e-30) * towards
    return found
