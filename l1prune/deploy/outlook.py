"""Outlook: how much smaller a network would get, in a line at the end of a run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from l1prune.deploy.compact import compact
from l1prune.deploy.graph import first_line
from l1prune.deploy.inputs import Arguments, example_of, in_batches
from l1prune.deploy.macs import macs
from l1prune.weights.shards import is_sharded

MOST = 1_000_000
"""Parameters of the largest network that is tried: that takes a few seconds."""


Smaller = Callable[[nn.Module, Any], tuple[nn.Module, Any]]
"""A network and an example of its inputs → a smaller one, and the example as that takes it."""


def compacted(network: nn.Module, example: Any) -> tuple[nn.Module, Any]:
    """The network without the units that do nothing."""
    return compact(network, example).model, example


def outlook(network: nn.Module, call: Arguments, smaller: Smaller = compacted) -> str:
    """How much smaller a network gets, or why it does not; on one line.

    The network is left as it is, and so is the state of the random generators.

    Args:
        network: in any mode.
        call: an example of its inputs.
        smaller: makes it so.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> _ = model[0].weight.data[:6].zero_()
    >>> outlook(model, ((torch.ones(1, 4),), {}))
    '58 → 16 parameters (3.62 × fewer), 4.00 × fewer MACs'
    """
    total = sum(weight.numel() for weight in network.parameters())
    if total > MOST:
        return f"{total:,} parameters are more than the {MOST:,} that are tried out here"
    if any(is_sharded(weight) for weight in network.parameters()):
        return "no process has the whole of this network"
    try:
        with torch.random.fork_rng(devices=[]):
            return _outlook(copy.deepcopy(network).eval(), in_batches(call, 2), smaller)
    except Exception as error:  # the run has all that it is for
        return f"nothing gets smaller: {first_line(error)}"


def _outlook(network: nn.Module, call: Arguments, smaller: Smaller) -> str:
    example = example_of(call)
    found, own = smaller(network, example)
    before, after = (sum(w.numel() for w in one.parameters()) for one in (network, found))
    line = f"{before:,} → {after:,} parameters ({before / max(after, 1):.2f} × fewer)"
    if products := macs(found, own):
        line += f", {macs(network, example) / products:.2f} × fewer MACs"
    return line
