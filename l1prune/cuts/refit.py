"""Refit: what is left of a layer takes over from what was cut.

Source: Hassibi & Stork, "Second order derivatives for network pruning: optimal brain surgeon",
NeurIPS 1992; layer by layer, on what comes in: Dong, Chen & Pan, "Learning to prune deep neural
networks via layer-wise optimal brain surgeon", NeurIPS 2017; Frantar & Alistarh, "SparseGPT",
ICML 2023.
"""

from __future__ import annotations

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
from l1prune.cuts.inputs import InputSums, Summary
from l1prune.cuts.saliency import Saliency
from l1prune.cuts.scopes import Scope
from l1prune.weights.shards import is_sharded, local
from l1prune.weights.targets import Target

ITERATIONS = 30
"""Of the conjugate gradients: what is cut at a time is little, and the start is near."""


class Refit(RefittingCriterion, FollowingCriterion):
    """Weights are worth what another criterion says, and after a cut those left are fitted anew.

    The weights that stay of each output are moved to where it comes closest, in least squares over
    the inputs since the last cut, to what it was before. So a network loses less at each cut and
    has less to learn again: for a trained one that is to be pruned in few passes. Each cut costs
    `ITERATIONS` products of a layer's weights with the second moments of its inputs. These are kept
    until the last cut, (inputs)² numbers a layer.

    Linear layers and convolutions over one or two dimensions are fitted. Left as they are: others,
    such as an LSTM; those with more than `most` inputs; weights that are sharded over processes.

    Args:
        criterion: what weights are worth; by default `Saliency()`.
        damping: of the fit, relative to the inputs' mean square, > 0: the larger, the less moves.
        most: inputs of a layer that is fitted, ≥ 1; a kernel has as many as it covers.

    Raises:
        ValueError: an argument makes no sense.

    >>> Refit()
    Refit(Saliency(least=0.6), damping=0.01, most=4608)
    """

    def __init__(
        self, criterion: Criterion | None = None, damping: float = 0.01, most: int = 4608
    ) -> None:
        if criterion is not None:
            check_object("criterion", criterion, ("check", "watch", "weigh"), "Saliency()")
        if not is_number(damping, 0) or damping == 0:
            raise ValueError(f"damping must be a finite number > 0, got {damping!r}")
        if not is_whole(most, 1):
            raise ValueError(f"most must be a whole number of inputs ≥ 1, got {most!r}")
        self.criterion = Saliency() if criterion is None else criterion
        self.damping, self.most = damping, most
        self._moments = InputSums(self._summary)

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
            moments = self._moments.mean(target.name)
            if moments is not None and target.name in masks:
                w = local(target.parameter)
                fitted = refit(
                    w, masks[target.name].to(w.device), moments.to(w.device), self.damping
                )
                if bool(fitted.isfinite().all()):  # inputs may not be; then all stays as it is
                    w.copy_(fitted)
        self._moments.forget_half()

    def state_dict(self) -> dict[str, Any]:
        return {"criterion": self.criterion.state_dict(), **self._moments.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.criterion.load_state_dict(state["criterion"])
        self._moments.load_state_dict(state)

    def _summary(self, module: nn.Module) -> Summary | None:
        weight = module._parameters.get("weight")
        if weight is None or not isinstance(module, nn.Linear | Conv1d | Conv2d):
            return None
        return moments_of(module) if weight[0].numel() <= self.most else None


def moments_of(module: nn.Linear | Conv1d | Conv2d) -> Summary:
    """How Σ xxᵀ is summed up over what each output of a layer sees: ``(groups, inputs, inputs)``.

    >>> total, count = moments_of(nn.Conv2d(4, 6, 3, groups=2))(torch.ones(5, 4, 8, 8))
    >>> total.shape, count
    (torch.Size([2, 18, 18]), 180)
    """

    def summary(x: Tensor) -> tuple[Tensor, int]:
        columns = _columns(module, x.float())
        return columns.transpose(1, 2) @ columns, columns.shape[1]

    return summary


def _columns(module: nn.Linear | Conv1d | Conv2d, x: Tensor) -> Tensor:
    """What the outputs of a layer see, ``(groups, examples and places, inputs)``."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    padding: list[int] = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x if x.ndim == len(module.kernel_size) + 2 else x.unsqueeze(0), padding, mode)
    if x.ndim == 3:  # a line is an image of one row
        x = x.unsqueeze(2)
    rows = [(1, *each)[-2:] for each in (module.kernel_size, module.dilation, module.stride)]
    seen = F.unfold(x, rows[0], rows[1], 0, rows[2])  # (B, channels × kernel, places)
    groups = seen.view(len(seen), module.groups, -1, seen.shape[-1])
    return groups.permute(1, 0, 3, 2).flatten(1, 2)


def refit(w: Tensor, mask: Tensor, moments: Tensor, damping: float = 0.01) -> Tensor:
    """The weights within a mask that give each output least squares closest to what it was.

    Minimises (v − w)·H·(v − w)ᵀ for each output over v that are zero outside the mask, with H the
    inputs' second moments, damped; by conjugate gradients, for all outputs at once.

    Args:
        w: the weights before the cut, ``(outputs, …)``.
        mask: what stays, of their shape.
        moments: the mean of xxᵀ, ``(groups, inputs, inputs)``: groups of outputs in order.
        damping: added to the diagonal of H, relative to its mean, > 0.

    >>> alike = torch.ones(1, 2, 2)  # two inputs that are always equal
    >>> refit(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, False]]), alike, 1e-6)
    tensor([[3.0000, 0.0000]])
    """
    groups, inputs, _ = moments.shape
    start = w.float().reshape(groups, -1, inputs)
    stays = mask.reshape(start.shape).to(start)
    diagonal = moments.diagonal(dim1=1, dim2=2)
    extra = diagonal.mean(1, keepdim=True).mul(damping).clamp_(min=torch.finfo(start.dtype).tiny)
    damped = moments + torch.diag_embed(extra.expand_as(diagonal))
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
