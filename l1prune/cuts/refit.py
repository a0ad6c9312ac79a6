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
from l1prune.cuts.criteria import Criterion, FollowingCriterion, RefittingCriterion
from l1prune.cuts.inputs import InputSums
from l1prune.cuts.saliency import Saliency
from l1prune.cuts.scopes import Scope
from l1prune.weights.shards import is_sharded, local
from l1prune.weights.targets import Target

ITERATIONS = 30
"""Of the conjugate gradients: what is cut at a time is little, and the start is near."""

ROWS = 512
"""Examples and places of a batch that are looked at: a step is to cost little more."""


class Refit(RefittingCriterion, FollowingCriterion):
    """Weights are worth what another criterion says, and after a cut those left are fitted anew.

    The weights that stay of each output are moved to where it comes closest, in least squares over
    the inputs since the last cut, to what it was before. So a network loses less at each cut and
    has less to learn again: for a trained one that is to be pruned in few passes. Until the last
    cut, (inputs)² numbers a layer are kept, the second moments of `ROWS` of its inputs in a batch;
    a cut costs `ITERATIONS` products of them with the layer's weights.

    `nn.Linear`, `nn.Conv1d` and `nn.Conv2d` are fitted. Left as they are: classes derived from
    them, others, such as an LSTM, and what `nn.MultiheadAttention` has within it; layers with more
    than `most` inputs; weights that are sharded over processes. A weight that is used elsewhere
    too, as in a tied autoencoder, is fitted to its layer's inputs alone: leave it out of `targets`.

    Args:
        criterion: what weights are worth; by default `Saliency()`.
        damping: of the fit, relative to the inputs' mean square, > 0: the larger, the less moves.
        most: inputs of a layer that is fitted, ≥ 1; a kernel has as many as it covers.

    Raises:
        ValueError: an argument makes no sense.

    >>> Refit()
    Refit(Saliency(least=0.6), damping=0.1, most=4608)
    """

    def __init__(
        self, criterion: Criterion | None = None, damping: float = 0.1, most: int = 4608
    ) -> None:
        if criterion is not None:
            check_object("criterion", criterion, ("check", "watch", "weigh"), "Saliency()")
        if not is_number(damping, 0) or damping == 0:
            raise ValueError(f"damping must be a finite number > 0, got {damping!r}")
        if not is_whole(most, 1):
            raise ValueError(f"most must be a whole number of inputs ≥ 1, got {most!r}")
        self.criterion = Saliency() if criterion is None else criterion
        self.damping, self.most = damping, most
        self._moments = InputSums(self._seen)

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

    @torch.no_grad()
    def refit_(self, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        for target in targets:
            mean, w = self._moments.mean(target.name), local(target.parameter)
            mask = masks.get(target.name)
            if mean is None or mask is None or mean.shape[-1] != w[0].numel():
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

    def _seen(self, module: nn.Module, x: Tensor) -> tuple[Tensor, int] | None:
        weight = module._parameters.get("weight")
        return None if weight is None or weight[0].numel() > self.most else moments(module, x)


def moments(module: nn.Module, x: Tensor) -> tuple[Tensor, int] | None:
    """Σ xxᵀ over what each output of a layer sees of a batch, ``(groups, inputs, inputs)``.

    Of many examples and places, some are taken. None: the layer is of another kind, or does
    something else with its input.

    >>> total, count = moments(nn.Conv2d(4, 6, 3, groups=2), torch.ones(5, 4, 8, 8))
    >>> total.shape, count
    (torch.Size([2, 18, 18]), 180)
    """
    columns = _columns(module, x.float())
    if columns is None:
        return None
    columns = columns[:, :: -(-columns.shape[1] // ROWS) or 1]
    return columns.transpose(1, 2) @ columns, columns.shape[1]


def _columns(module: nn.Module, x: Tensor) -> Tensor | None:
    """What the outputs of a layer see, ``(groups, examples and places, inputs)``."""
    # Whatever is derived from these may do something else before.
    if type(module) is nn.Linear:
        return x.reshape(1, -1, x.shape[-1]) if x.shape[-1] == module.in_features else None
    if type(module) not in (Conv1d, Conv2d) or not x.numel():
        return None
    assert isinstance(module, Conv1d | Conv2d)
    padding: list[int] = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = x if x.ndim == len(module.kernel_size) + 2 else x.unsqueeze(0)
    # The unfolded input is as large as the kernel many times over: of no more than is looked at.
    places = max(math.prod(x.shape[2:]) // math.prod(module.stride), 1)
    x = F.pad(x[: -(-ROWS // places)], padding, mode)
    if x.ndim == 3:  # a line is an image of one row
        x = x.unsqueeze(2)
    rows = [(1, *each)[-2:] for each in (module.kernel_size, module.dilation, module.stride)]
    seen = F.unfold(x, rows[0], rows[1], 0, rows[2])  # (B, channels × kernel, places)
    groups = seen.view(len(seen), module.groups, -1, seen.shape[-1])
    return groups.permute(1, 0, 3, 2).flatten(1, 2)


def refit(w: Tensor, mask: Tensor, second: Tensor, damping: float = 0.01) -> Tensor:
    """The weights within a mask that give each output least squares closest to what it was.

    Minimises (v − w)·H·(v − w)ᵀ for each output over v that are zero outside the mask, with H the
    inputs' second moments, damped; by conjugate gradients, for all outputs at once.

    Args:
        w: the weights before the cut, ``(outputs, …)``.
        mask: what stays, of their shape.
        second: the mean of xxᵀ, ``(groups, inputs, inputs)``: groups of outputs in order.
        damping: added to the diagonal of H, relative to its mean, > 0.

    >>> alike = torch.ones(1, 2, 2)  # two inputs that are always equal
    >>> refit(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, False]]), alike, 1e-6)
    tensor([[3.0000, 0.0000]])
    """
    groups, inputs, _ = second.shape
    start = w.float().reshape(groups, -1, inputs)
    stays = mask.reshape(start.shape).to(start)
    diagonal = second.diagonal(dim1=1, dim2=2)
    extra = diagonal.mean(1, keepdim=True).mul(damping).clamp_(min=torch.finfo(start.dtype).tiny)
    damped = second + torch.diag_embed(extra.expand_as(diagonal))
    scale = (diagonal + extra).unsqueeze(1)
    moved = torch.zeros_like(start)  # of what stays, from where it is
    rest = ((start * (1 - stays)) @ damped).mul_(stays)
    towards = ready = rest / scale
    size = (rest * ready).sum(-1, keepdim=True)
    for _ in range(ITERATIONS):
        along = (towards @ damped).mul_(stays)
        step = size / (towards * along).sum(-1, keepdim=True).clamp_(min=1e-30)
        moved += step * towards
        rest = rest - step * along
        ready = rest / scale
        before, size = size, (rest * ready).sum(-1, keepdim=True)
        towards = ready + size / before.clamp(min=1e-30) * towards
    return ((start + moved) * stays).reshape(w.shape).to(w.dtype)
