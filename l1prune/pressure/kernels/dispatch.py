"""Dispatch: each pass to the kernel of its device and dtype, and what none can do to eager torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.foreach import Foreach
from l1prune.pressure.kernels.fused import Fused
from l1prune.pressure.kernels.native import Native
from l1prune.pressure.kernels.passes import Kernel, Pass

SWITCH = "L1PRUNE_KERNEL"
"""The environment variable that, as `eager`, leaves all to torch's own operations."""


def kernels_of(device: str) -> list[Kernel]:
    """The kernels of a type of device, the fastest first; the last can do all that there is.

    >>> [kernel.name for kernel in kernels_of("mps")]
    ['eager']
    """
    found: list[Kernel] = [Eager()]
    if os.environ.get(SWITCH, "").lower() == "eager":
        return found
    if device == "cpu":
        return [Native(), *found] if Native.is_there() else found
    if device == "cuda":
        fused: list[Kernel] = [Fused()] if Fused.is_there() else []
        return [*fused, Foreach(), *found]
    return found


class Dispatch:
    """Does the passes of one step after the other, always of the same weights if it can be.

    Args:
        kernels: by type of device; others are found when they are needed.

    Attributes:
        names: of the kernels that have done something.

    >>> w = torch.tensor([-3.0, 0.5])
    >>> Dispatch().run([Pass(w, mask=torch.tensor([True, False]))])
    >>> w
    tensor([-3.,  0.])
    """

    def __init__(self, kernels: dict[str, Sequence[Kernel]] | None = None) -> None:
        self._kernels: dict[str, Sequence[Kernel]] = dict(kernels or {})
        self.names: set[str] = set()

    def run(self, passes: Sequence[Pass]) -> None:
        """Do all of them, in place."""
        if torch.compiler.is_compiling():
            Eager().run(passes)  # to be compiled with the rest
            return
        while passes:
            device = passes[0].w.device.type
            mine = [one for one in passes if one.w.device.type == device]
            passes = [one for one in passes if one.w.device.type != device] if len(mine) < len(passes) else []
            self._run(device, mine)

    def _run(self, device: str, passes: Sequence[Pass]) -> None:
        if device not in self._kernels:
            self._kernels[device] = kernels_of(device)
        for kernel in self._kernels[device]:
            rest = kernel.run(passes)
            if len(rest) < len(passes):
                self.names.add(kernel.name)
            if not rest:
                return
            passes = rest
