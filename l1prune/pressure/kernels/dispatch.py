"""Dispatch: each pass to the kernel of its device and dtype, or to eager torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from l1prune.penalties.steps import checked_step
from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.foreach import Foreach
from l1prune.pressure.kernels.fused import Fused
from l1prune.pressure.kernels.native import Native
from l1prune.pressure.kernels.passes import Kernel, Pass
from l1prune.weights.library import is_eager


def kernels() -> list[Kernel]:
    """The kernels that there are here, the fastest first; the last can do all that there is.

    >>> kernels()[-1].name
    'eager'
    """
    found: list[Kernel] = []
    if not is_eager():
        found += [Native()] if Native.is_there() else []
        if torch.cuda.is_available():
            found += [Fused(), Foreach()] if Fused.is_there() else [Foreach()]
    return [*found, Eager()]


class Dispatch:
    """Does the passes of one step after the other, always of the same weights if it can be.

    Args:
        kernels: each does what it can of what those before it cannot; by default all there are.

    Attributes:
        names: of the kernels that have done something.

    >>> w = torch.tensor([-3.0, 0.5])
    >>> Dispatch().run([Pass(w, mask=torch.tensor([True, False]))])
    >>> w
    tensor([-3.,  0.])
    """

    def __init__(self, kernels: Sequence[Kernel] = ()) -> None:
        self._kernels = kernels
        self.names: set[str] = set()

    def run(self, passes: Sequence[Pass]) -> None:
        """Do all of them, in place.

        Raises:
            ValueError: a threshold that is negative or NaN.
        """
        for one in passes:
            amount = one.threshold.amount
            if not isinstance(amount, Tensor) and not amount >= 0:
                checked_step(amount)  # which says what is wrong
        if torch.compiler.is_compiling():
            Eager().run(passes)  # to be compiled with the rest
            return
        if not self._kernels:
            self._kernels = kernels()
        for kernel in self._kernels:
            rest = kernel.run(passes)
            if len(rest) < len(passes):
                self.names.add(kernel.name)
            if not rest:
                return
            passes = rest
