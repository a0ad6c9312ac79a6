"""Trial: which channels can be removed, found out by removing some of a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from l1prune.channels.coupling import Coupling
from l1prune.deploy.compact import Compaction, compact
from l1prune.deploy.copies import copied
from l1prune.deploy.refusals import HOOKS


@torch.no_grad()
def firm_streams(model: nn.Module, coupling: Coupling, example_input: Any) -> dict[int, str]:
    """The streams, by number, whose channels `compact` cannot remove: a parameter, and the reason.

    Half of the channels of each are removed from a copy, as pruning would.

    Args:
        model: in training or eval mode; it is left as it is.
        coupling: its channels.
        example_input: as for `compact`.

    Raises:
        ValueError: the model cannot be made compact at all.

    >>> from l1prune.channels.coupling import coupling_of
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> firm_streams(model, coupling_of(model, torch.ones(1, 4)), torch.ones(1, 4))
    {}
    """
    trial = _plain_copy(model)
    if any(parameter.device.type == "mps" for parameter in trial.parameters()):
        # The proof computes in float64, which there is none of.
        trial = trial.cpu()
        example_input = tree_map_only(Tensor, Tensor.cpu, example_input)
    stays = torch.ones(coupling.count + 1)
    for stream in coupling.streams:
        stays[stream[(len(stream) + 1) // 2 :]] = 0
    for name, parameter in trial.named_parameters():
        for factor in coupling.factors(name, stays.to(parameter)):
            parameter.mul_(factor)
    compaction = compact(trial, example_input)
    after = {name: parameter.shape for name, parameter in compaction.model.named_parameters()}
    gone = {
        (name, dim): after[name][dim] <= int(stays[index].sum())
        for name in coupling.places
        for dim, index in coupling.members(name)
    }
    firm = {}
    for number, stream in enumerate(coupling.streams):
        mine = [place for place in gone if _lies_in(coupling, stream, *place)]
        if not any(gone[place] for place in mine):
            names = [name for name, _ in mine]
            firm[number] = f"{names[0]}: {_reason(compaction, names)}"
    return firm


def _plain_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode, without hooks, which only watch."""
    twin = copied(model).eval()
    for module in twin.modules():
        for hooks in HOOKS:
            getattr(module, hooks).clear()
    return twin


def _lies_in(coupling: Coupling, stream: Tensor, name: str, dim: int) -> bool:
    """Whether channels of a stream are among the indices of a dimension."""
    index = coupling.places[name][dim]
    return index is not None and bool(torch.isin(stream[:1], index).any())


def _reason(compaction: Compaction, names: Sequence[str]) -> str:
    report = compaction.report
    for part, reason in report.refused.items():
        if part.split(" and ")[0] in names:
            return reason
    return next((reason for n in names for reason in report.kept.get(n, {})), "they stay")
