"""Recipe: what a run is asked to do, checked and completed before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypedDict

from l1prune.checks import check_object, described, is_number
from l1prune.cuts.criteria import Criterion
from l1prune.cuts.plans import Plan, as_plan
from l1prune.cuts.thresholds import Sparsity, Threshold, as_threshold
from l1prune.penalties import L1, Penalty, is_separable
from l1prune.penalties.joint import ModelPenalty
from l1prune.pressure.forms import Form
from l1prune.pressure.schedules import ByPasses, Schedule
from l1prune.training.rates import Rewind, as_rewind
from l1prune.training.rounds import Rounds, as_rounds
from l1prune.training.strength import Controller, Strength, as_strength
from l1prune.weights.rules import Rule, Rules, as_rules
from l1prune.weights.warning import warn


class Arguments(TypedDict, total=False):
    """Arguments of `L1Pruning`, all but the criterion, for what hands them on to it."""

    strength: float | Schedule | ByPasses | Controller | None
    threshold: float | Threshold | Plan | None
    penalty: Penalty | None
    prune_at: int | float | Sequence[int] | Sequence[float] | Rounds | None
    targets: Rules | None
    form: Form | None
    rewind: float | Rewind | None


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a run is asked to do: the arguments of `L1Pruning`, each with its default.

    Args:
        strength: λ over the run.
        threshold: what is removed.
        penalty: what presses.
        prune_at: when cuts are due, in each stage.
        targets: which weights; None: those of all layers.
        form: how the penalty enters a step; None: as suits the optimizer.
        rewind: where on its schedule the learning rate is; None: where the scheduler has it.
        criterion: what a weight is worth; None: as suits optimizer and threshold.
    """

    strength: float | Schedule | ByPasses | Controller
    threshold: Threshold | Plan
    penalty: Penalty
    prune_at: tuple[float, ...]
    targets: list[Rule] | None
    form: Form | None
    rewind: Rewind | None
    criterion: Criterion | None

    @cached_property
    def plan(self) -> Plan:
        """What is cut, in which stages."""
        return as_plan(self.threshold)

    def begin_strength(self) -> Strength:
        """The strength of a stage that begins now."""
        return as_strength(self.strength, self.plan, self.penalty, self.form)

    @property
    def words(self) -> dict[str, str]:
        """All of it in words, by which a resumed run is known to be the same."""
        return described({one.name: getattr(self, one.name) for one in fields(self)})


def as_recipe(*arguments: Any) -> Recipe:
    """The recipe of a run, from the arguments in the order of its fields; None is the default.

    Raises:
        ValueError: an argument makes no sense.
    """
    strength, threshold, penalty, prune_at, targets, form, rewind, criterion = arguments
    for name, given, methods, example in (
        ("penalty", penalty, ("score", "value", "prox_"), "L1()"),
        ("form", form, ("check", "attach", "after"), "Proximal()"),
        ("criterion", criterion, ("check", "watch", "weigh"), "Saliency()"),
    ):
        if given is not None:
            check_object(name, given, methods, example)
    if threshold is None:
        _question_strength(strength, form)
        threshold = Sparsity(0.95)
    penalty = L1() if penalty is None else penalty
    if is_number(threshold):
        _question_size(threshold)
        threshold = as_threshold(threshold)
    rewind = as_rewind(rewind)
    many = rewind is None or rewind.gradual
    if prune_at is None:
        prune_at = 0.6 if many else 0.5
    recipe = Recipe(
        strength=_default_strength(penalty) if strength is None else strength,
        threshold=threshold,
        penalty=penalty,
        prune_at=as_rounds(prune_at, as_plan(threshold).gradual and many),
        targets=None if targets is None else as_rules(targets),
        form=form,
        rewind=rewind,
        criterion=criterion,
    )
    recipe.begin_strength()  # refuses what is no strength
    return recipe


def _question_strength(strength: Any, form: Form | None) -> None:
    if form is None and is_number(strength, 0.7, 0.999):
        warn(
            f"strength={strength} is λ, by which weights are pressed, and far above what a network "
            f"learns under; for {100 * strength:g} % zeros give threshold=Sparsity({strength})"
        )


def _question_size(size: Any) -> None:
    if is_number(size, 0.5, 0.999):
        warn(
            f"threshold={size} is a size, and removes the weights that are smaller; for "
            f"{100 * size:g} % zeros give Sparsity({size})"
        )


def _default_strength(penalty: Penalty) -> ByPasses:
    if is_separable(penalty):
        return ByPasses()
    # A unit at zero takes many weights along, a channel those of many layers: more than the next
    # cut is to take.
    return ByPasses(2e-5 if isinstance(penalty, ModelPenalty) else 1e-4, limit=0.1)
