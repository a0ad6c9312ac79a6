"""The criterion of a run: settled once, when training starts."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.checks import in_words
from l1prune.cuts.criteria import (
    Criterion,
    FollowingCriterion,
    RefittingCriterion,
    Size,
    lent,
)
from l1prune.cuts.plans import Plan
from l1prune.cuts.saliency import Saliency
from l1prune.cuts.scopes import Scope
from l1prune.penalties import Penalty, is_separable
from l1prune.weights.finite import check_finite, first_nan
from l1prune.weights.shards import local
from l1prune.weights.targets import Target

MANY = 10
"""Rounds, from which on each cut is small."""


def default_criterion(plan: Plan, penalty: Penalty, rounds: int, presses_small: bool) -> Criterion:
    """What weights are worth, where nothing is said of it.

    By saliency, where many rounds make each cut small: saliency foretells small changes, and one
    large cut by it may all but empty a layer. By size elsewhere; where the plan says how layers'
    sizes compare; and where only what is small is pressed. What the gradients say of a unit of many
    weights is the mean of many, and needs no shrinkage.

    Args:
        plan: what is cut.
        penalty: of single weights, or of units.
        rounds: in how many.
        presses_small: whether only what is small is pressed.
    """
    small_cuts = plan.gradual and rounds >= MANY and not presses_small
    if not small_cuts or plan.scope is not None:
        return Size()
    return Saliency() if is_separable(penalty) else Saliency(shrinkage=0.0)


class RunCriterion:
    """The criterion that a run goes by, and what it has learned.

    Args:
        given: the criterion that was asked for; None: `default_criterion`.
    """

    def __init__(self, given: Criterion | None) -> None:
        self._given = given
        self._fresh: Criterion | None = None
        self._current: Criterion | None = None
        self._refitting: RefittingCriterion | None = None  # the same, if it refits
        self._loaded: Mapping[str, Any] | None = None
        self._watching = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_watching": ExitStack()}  # a copy watches nothing

    def __str__(self) -> str:
        if self._loaded is not None:
            return str(self._loaded["name"])
        return "" if self._fresh is None else in_words(self._fresh)

    @property
    def scope(self) -> Scope:
        """How layers compare by it, where the threshold leaves that open."""
        return self._settled.scope

    @property
    def _settled(self) -> Criterion:
        assert self._current is not None, "settled when training starts"
        return self._current

    def settle(
        self,
        plan: Plan,
        penalty: Penalty,
        rounds: int,
        presses_small: bool,
        optimizers: Sequence[Optimizer],
    ) -> None:
        """Decide, and take up what an earlier part of the run has learned.

        Raises:
            ValueError: the optimizers do not tell what the criterion goes by, or the run began with
                another.
        """
        chosen = self._given
        if chosen is None:
            chosen = default_criterion(plan, penalty, rounds, presses_small)
        chosen.check(optimizers)
        self._fresh = chosen
        self.reset()
        if self._loaded is not None:
            before, learned = self._loaded["name"], self._loaded["state"]
            self._loaded = None
            if not before:
                return  # saved before anything was settled, as when a learning rate is looked for
            if before != str(self):
                raise ValueError(
                    f"the run began with cuts by {before} and would go on with cuts by {self}: "
                    "give the criterion that it began with, or begin a new run"
                )
            self._settled.load_state_dict(learned)

    def watch(
        self, model: nn.Module, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> None:
        """Let the criterion see what it needs of model and steps, until `close` or `reset`."""
        self.close()
        criterion = self._settled
        self._watching.enter_context(criterion.watch(model, targets))
        if isinstance(criterion, FollowingCriterion):
            self._watching.enter_context(criterion.follow(targets, optimizers))

    @contextmanager
    def weighed(
        self, targets: Sequence[Target], optimizers: Sequence[Optimizer]
    ) -> Iterator[list[Tensor]]:
        """What each weight is worth, in tensors that may be written to until it is left.

        Raises:
            ValueError: the criterion gives something else.
            DivergenceError: it weighs by NaN because there are weights that are not finite.
        """
        shapes = [tuple(local(target.parameter).shape) for target in targets]
        with lent(self._settled, targets, optimizers) as worth:
            if [tuple(one.shape) for one in worth] != shapes:
                raise ValueError(
                    f"criterion={self} must weigh each target by a tensor of its shape, {shapes}, "
                    f"got {[tuple(one.shape) for one in worth]}"
                )
            if (wrong := first_nan(worth)) is not None:
                by_name = {target.name: target.parameter for target in targets}
                check_finite(by_name, "before the cut")
                raise ValueError(
                    f"criterion={self} weighs {targets[wrong].name} by NaN; give each weight a "
                    "number"
                )
            yield worth

    def refit_(self, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Let what stays take over from what does not, if the criterion knows how."""
        if self._refitting is not None:
            self._refitting.refit_(targets, masks)

    def reset(self) -> None:
        """Forget what was learned, and let go of model and optimizers."""
        self.close()
        self._current = found = copy.deepcopy(self._fresh)
        self._refitting = found if isinstance(found, RefittingCriterion) else None

    def close(self) -> None:
        """Let go of model and optimizers."""
        self._watching.close()

    def state_dict(self) -> dict[str, Any]:
        if self._loaded is not None:
            return dict(self._loaded)
        return {"name": str(self), "state": self._current.state_dict() if self._current else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = state
