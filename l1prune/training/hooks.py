"""Hooks: what a run hangs on its optimizers: pressure first, and masks after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from l1prune.cuts.masks import hold_, hold_gradients_
from l1prune.pressure.closures import Arguments, Closure, with_closure
from l1prune.pressure.optimizers import hooked, weight_ids
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import Target


class HoldWithin:
    """Holds masks within an optimizer's step, where it evaluates the model several times.

    At weights that it has moved it sees the model without what was removed each time. After the
    step the pressure on the optimizer holds them, in its own pass.

    Args:
        optimizer: the optimizer that moves the weights.
        targets: the masked weights.
        masks: by name; what is later added to this mapping is held too.
    """

    def __init__(
        self, optimizer: Optimizer, targets: Sequence[Target], masks: Mapping[str, Tensor]
    ) -> None:
        moved = weight_ids(optimizer)
        self._targets = [target for target in targets if id(target.parameter) in moved]
        self._masks = masks
        self._handles = [one.register_step_pre_hook(self._before) for one in hooked(optimizer)]

    def remove(self) -> None:
        """Let the optimizer go."""
        for handle in self._handles:
            handle.remove()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Arguments | None:
        return with_closure(args, kwargs, self._holding) if self._masks else None

    def _holding(self, closure: Closure) -> Closure:
        """The closure; evaluated again, it sees the zeros."""
        again = False

        def evaluate() -> Any:
            nonlocal again
            if again:
                hold_(self._targets, self._masks)
            again = True
            return closure()

        return evaluate


class HoldGradients:
    """Holds masks against backward passes: the gradients of removed weights are zero after each.

    Args:
        targets: the weights.
        masks: by name; what is later added to this mapping is held too.

    Attributes:
        targets: the weights.
    """

    def __init__(self, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        self.targets, self._masks = targets, masks
        self._handles = [
            target.parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                partial(self._hold, target)
            )
            for target in targets
            if target.parameter.requires_grad
        ]

    def _hold(self, target: Target, _: Tensor) -> None:
        hold_gradients_([target], self._masks)

    def remove(self) -> None:
        """Let the weights go."""
        for handle in self._handles:
            handle.remove()


class OptimizerHooks:
    """Pressure and masks on each optimizer of a run.

    Args:
        optimizers: of the run.
        targets: the weights.
        press: puts pressure on an optimizer.
        masks: what is held, by name; what is later added to this mapping is held too.
        steps: that each optimizer was pressed for before.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        targets: Sequence[Target],
        press: Callable[[Optimizer], Pressure],
        masks: Mapping[str, Tensor],
        steps: Sequence[int] = (),
    ) -> None:
        self._pressures: list[Pressure] = []
        self._holds: list[HoldWithin] = []
        for optimizer, pressed in zip(optimizers, chain(steps, repeat(0)), strict=False):
            pressure = press(optimizer)
            pressure.steps = pressed
            self._pressures.append(pressure)
            self._holds.append(HoldWithin(optimizer, targets, masks))

    @classmethod
    def none(cls) -> OptimizerHooks:
        """Those of a run that has not begun."""
        return cls((), (), partial(Pressure, targets=()), {})

    def __getstate__(self) -> dict[str, Any]:
        return {"_pressures": [], "_holds": []}  # a copy hangs on no optimizer

    def __bool__(self) -> bool:
        return bool(self._holds)

    @property
    def steps(self) -> list[int]:
        """How many steps of each optimizer were pressed."""
        return [pressure.steps for pressure in self._pressures]

    @property
    def kernels(self) -> set[str]:
        """The names of those that have pressed and held weights."""
        return {name for pressure in self._pressures for name in pressure.dispatch.names}

    def press(self, strength: float) -> None:
        """Say how strongly the coming steps are pressed."""
        for pressure in self._pressures:
            pressure.strength = strength

    def remove(self) -> bool:
        """Let the optimizers go; whether there were any."""
        for pressure, hold in zip(self._pressures, self._holds, strict=True):
            pressure.remove()
            hold.remove()
        held = bool(self._holds)
        self._pressures, self._holds = [], []
        return held


class Around:
    """Stands around a method of one object, until it is let go; its class is left as it is.

    Args:
        owner: the object.
        name: of its method.
        act: called in its place, with the method and what that is to be called with.
    """

    def __init__(self, owner: object, name: str, act: Callable[..., Any]) -> None:
        self._owner, self._name, self._act = owner, name, act
        self._before = vars(owner).get(name)
        self._hung: Callable[..., Any] | None = partial(self._call, getattr(owner, name))
        vars(owner)[name] = self._hung

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._act(method, *args, **kwargs) if self._hung else method(*args, **kwargs)

    def remove(self) -> None:
        """Let the object go; what others have hung on it since stays."""
        hung, self._hung = self._hung, None
        if hung is not None and vars(self._owner).get(self._name) is hung:
            del vars(self._owner)[self._name]
            if self._before is not None:
                vars(self._owner)[self._name] = self._before
