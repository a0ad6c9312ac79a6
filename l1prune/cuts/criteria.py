"""Criteria: what a weight is worth, by which cuts decide what goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.cuts.scopes import LAMP, Scope
from l1prune.weights.pieces import widest
from l1prune.weights.shards import local
from l1prune.weights.targets import Target


class Criterion(Protocol):
    """What a weight is worth to the network.

    A run has a copy of its own of the criterion that it is given, settled when training starts. A
    cut works on copies of what it weighs by, or on what it lends: see `LendingCriterion`.
    """

    @property
    def scope(self) -> Scope:
        """How the layers' worths compare, where the threshold leaves that open."""
        ...

    def check(self, optimizers: Sequence[Optimizer]) -> None:
        """Raise ValueError if there is nothing in these optimizers to go by."""
        return

    def watch(self, model: nn.Module, targets: Sequence[Target]) -> AbstractContextManager[Any]:
        """What it has to see of the model while it trains: hooks, taken off when left."""
        return nullcontext()

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        """What each weight is worth, ≥ 0 in size: one tensor for each target, of its shape.

        Of a sharded target it is that of the local part.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it has learned, in tensors and plain types. Processes call it together."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        return


@runtime_checkable
class LendingCriterion(Criterion, Protocol):
    """A criterion that spares a cut the copies of what it weighs by."""

    def lend(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[list[Tensor]]:
        """What `weigh` gives, in tensors that may be written to until it is left.

        It counts in the class that defines `weigh`: one derived from it may weigh otherwise.
        """
        ...


@contextmanager
def lent(
    criterion: Criterion, targets: Sequence[Target], optimizers: Sequence[Optimizer]
) -> Iterator[list[Tensor]]:
    """What weights are worth by a criterion, in tensors that may be written to until it is left.

    They are those that it lends, or else copies, in floats.

    >>> from torch import ones
    >>> w = nn.Parameter(ones(1))
    >>> with lent(Size(), [Target("w", w)], []) as (worth,):
    ...     _ = worth.zero_()
    >>> w
    Parameter containing:
    tensor([1.], requires_grad=True)
    """
    owner = next((kind for kind in type(criterion).__mro__ if "weigh" in vars(kind)), object)
    lend = getattr(criterion, "lend", None)
    if not callable(lend) or "lend" not in vars(owner):
        yield [_as_floats(one.detach(), copy=True) for one in criterion.weigh(targets, optimizers)]
        return
    given = lend(targets, optimizers)
    if not isinstance(given, AbstractContextManager):
        raise ValueError(
            f"criterion={criterion!r}: lend must give a context, as by @contextmanager, got "
            f"{type(given).__name__}"
        )
    with given as worth:
        yield [_as_floats(one) for one in worth]


def _as_floats(worth: Tensor, copy: bool = False) -> Tensor:
    kind = worth.dtype if worth.is_floating_point() else widest(worth.device)
    return worth.to(kind, copy=copy)


@runtime_checkable
class RefittingCriterion(Criterion, Protocol):
    """A criterion that also says what becomes of the weights that a cut leaves."""

    def refit_(self, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Change the weights that stay, now that these are known. Processes call it together.

        Args:
            targets: the weights, as they were before the cut.
            masks: what stays of each, by name.
        """
        ...


@runtime_checkable
class FollowingCriterion(Criterion, Protocol):
    """A criterion that has to see the steps of the optimizers, too."""

    def follow(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> AbstractContextManager[Any]:
        """Let it see them: hooks, taken off when left.

        It is left after the last cut, and entered again where targets or optimizers change.
        """
        ...


@dataclass(frozen=True)
class Size(Criterion):
    """A weight is worth its size, |w|: magnitude pruning. Layers compare by `LAMP()`.

    >>> from torch import ones
    >>> Size().weigh([Target("w", nn.Parameter(-2 * ones(1)))], [])[0].abs()
    tensor([2.])
    """

    @property
    def scope(self) -> Scope:
        return LAMP()

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        return [local(target.parameter.detach()) for target in targets]
