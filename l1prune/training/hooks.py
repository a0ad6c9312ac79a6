"""Attached: what a run hangs on the optimizers of a trainer, pressure first and masks after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, repeat

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.masks import Hold
from l1prune.penalties import Penalty
from l1prune.pressure.forms import Form
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import Target


class Attached:
    """Pressure and masks on each optimizer of a run.

    Args:
        optimizers: of the trainer.
        targets: the weights; those that none of the optimizers moves are warned about.
        penalty: what presses them.
        form: how it enters a step; None: the default of each optimizer.
        masks: what is held, by name; what is later added to this mapping is held too.
        steps: that each optimizer was pressed for before.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        targets: Sequence[Target],
        penalty: Penalty,
        form: Form | None,
        masks: Mapping[str, Tensor],
        steps: Sequence[int] = (),
    ) -> None:
        self._pressures: list[Pressure] = []
        self._holds: list[Hold] = []
        for optimizer, pressed in zip(optimizers, chain(steps, repeat(0)), strict=False):
            pressure = Pressure(optimizer, targets, penalty, 0.0, form)
            pressure.steps = pressed
            self._pressures.append(pressure)
            self._holds.append(Hold(optimizer, targets, masks))
        moved = {id(w) for o in optimizers for group in o.param_groups for w in group["params"]}
        still = [target.name for target in targets if id(target.parameter) not in moved]
        if still and optimizers:
            rank_zero_warn(f"no optimizer moves {', '.join(still)}: will be cut, but not pressed")

    @property
    def steps(self) -> list[int]:
        """How many steps of each optimizer were pressed."""
        return [pressure.steps for pressure in self._pressures]

    def press(self, strength: float, spared: Mapping[str, Tensor], ease: float) -> None:
        """Say how the coming steps are pressed."""
        for pressure in self._pressures:
            pressure.strength, pressure.spared, pressure.ease = strength, spared, ease

    def remove(self) -> bool:
        """Let the optimizers go; whether there were any."""
        for pressure, hold in zip(self._pressures, self._holds, strict=True):
            pressure.remove()
            hold.remove()
        held = bool(self._holds)
        self._pressures, self._holds = [], []
        return held
