"""Plans: a run in stages, each of which ends with a network that validation has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from l1prune.checks import is_number, is_whole
from l1prune.cuts.direction import higher_is_better
from l1prune.cuts.outcomes import Outcome as Outcome
from l1prune.cuts.outcomes import TellingPlan, table, verdicts
from l1prune.cuts.scopes import Scope
from l1prune.cuts.thresholds import Sparsity, Threshold, as_threshold
from l1prune.weights.targets import Target, Targets


class Plan(Protocol):
    """Cuts in stages. A stage presses, cuts and fine-tunes, and may look at those before it."""

    goes_back: bool = True
    """Whether `answer` may name an earlier network than the last, to which the model returns."""

    @property
    def gradual(self) -> bool:
        """Whether each stage may be cut in many rounds."""
        return True

    @property
    def scope(self) -> Scope | None:
        """How layers compare; None: it is left open."""
        return None

    @property
    def ends(self) -> tuple[float, ...]:
        """Where each stage ends, as rising shares of the run; the last is 1."""
        ...

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        """What goes in the stage that follows these; None: nothing does, and nothing is pressed."""
        ...

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        """Which of these networks is the result so far, and what the next stage begins with."""
        ...

    def check(self, counts: list[int], sizes: list[int]) -> None:
        """Raise ValueError if layers of so many units of these sizes cannot be cut this way."""
        return

    def check_metrics(self, metrics: Mapping[str, float]) -> None:
        """Raise ValueError if a validation has no figure of the name that the plan goes by."""
        return

    def left_out(self, targets: Sequence[Target]) -> dict[str, str]:
        """The weights, by name, that it cannot cut and leaves dense, each with the reason."""
        return {}

    def shortfall(self, outcomes: Sequence[Outcome]) -> str | None:
        """What to warn of at the end, if no stage has come to what was asked for."""
        return None


@dataclass(frozen=True)
class Once(Plan):
    """The whole run is one stage.

    Args:
        cut: what goes in it.
    """

    cut: Threshold

    goes_back = False
    ends = (1.0,)

    @property
    def gradual(self) -> bool:
        return self.cut.gradual

    @property
    def scope(self) -> Scope | None:
        return self.cut.scope

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        return self.cut

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        return len(outcomes) - 1

    def check(self, counts: list[int], sizes: list[int]) -> None:
        self.cut.check(counts, sizes)

    def left_out(self, targets: Sequence[Target]) -> dict[str, str]:
        return self.cut.left_out(targets)


@dataclass(frozen=True)
class SparsityPath(Plan):
    """The whole frontier from one run: the sparsity rises in stages, each from the one before.

    After the paths of glmnet (Friedman et al., 2010) and LassoNet (Lemhadri et al., 2021). The
    first stage, in which the network learns, is three times as long as the others: with seven, in a
    run three times as long as usual, it is a usual run. In each the learning rate goes through its
    whole schedule; `PathCheckpoint` keeps what each ends with.

    Args:
        sparsities: shares of zeros in (0, 1), rising; one stage each.
        scope: how layers compare, as in `Sparsity`.
        floor: how many units every layer keeps, whatever their size.

    >>> SparsityPath((0.5, 0.9, 0.95)).ends
    (0.6, 0.8, 1.0)
    """

    sparsities: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
    scope: Scope | None = None
    floor: int = 1

    goes_back = False

    def __post_init__(self) -> None:
        # Whatever sequence a configuration gave, so that it compares and hashes.
        object.__setattr__(self, "sparsities", tuple(self.sparsities))
        if not self.sparsities or any(
            not is_number(after, 0, 1) or after <= before or after == 1
            for before, after in zip((0.0, *self.sparsities), self.sparsities, strict=False)
        ):
            raise ValueError(
                "sparsities must rise between 0 and 1, as (0.5, 0.9, 0.99), got "
                f"{self.sparsities!r}"
            )
        self._sparsity(len(self.sparsities) - 1)  # checks the rest

    @property
    def ends(self) -> tuple[float, ...]:
        count = len(self.sparsities)
        return tuple((index + 3) / (count + 2) for index in range(count))

    def _sparsity(self, index: int) -> Sparsity:
        start = self.sparsities[index - 1] if index else 0.0
        return Sparsity(self.sparsities[index], self.scope, self.floor, start)

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        return self._sparsity(min(len(outcomes), len(self.sparsities) - 1))

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        return len(outcomes) - 1

    def check(self, counts: list[int], sizes: list[int]) -> None:
        self._sparsity(len(self.sparsities) - 1).check(counts, sizes)


@dataclass(frozen=True)
class Budget(Plan):
    """The smallest network whose validation metric stays within a budget of the dense one's.

    A third of the run trains the dense network. Then rounds, equally long, each prune and fine-tune
    the smallest network so far that is within the budget: to a quarter of its weights at first, and
    after each failure by the square root of the factor before, as a line search steps back. Each
    round goes through the whole schedule of the learning rate. What is handed back is the smallest
    network within the budget; if no round left one, the dense network, and a warning.

    Args:
        monitor: a validation metric that the module logs, as `"val/accuracy"`.
        max_drop: how much worse than the dense network's it may be, in its own unit, ≥ 0: 0.005 is
            half a point of an accuracy in [0, 1].
        higher_is_better: the direction of the metric; None: from its name, if that leaves no doubt.
        rounds: how many, ≥ 1.
        scope: how layers compare, as in `Sparsity`.
        floor: how many units every layer keeps, whatever their size.

    >>> budget = Budget("val/accuracy", max_drop=0.01)
    >>> dense = {"sparsity": 0.0, "val/accuracy": 0.98}
    >>> budget.threshold([dense]).sparsity
    0.75
    >>> worse = {"sparsity": 0.75, "val/accuracy": 0.96}
    >>> budget.answer([dense, worse]), budget.threshold([dense, worse]).sparsity
    (0, 0.5)
    """

    monitor: str
    max_drop: float
    higher_is_better: bool | None = None
    rounds: int = 6
    scope: Scope | None = None
    floor: int = 1

    def __post_init__(self) -> None:
        if not self.monitor or not isinstance(self.monitor, str):
            raise ValueError(
                f"monitor must name a validation metric, as 'val/accuracy', got {self.monitor!r}"
            )
        if not is_number(self.max_drop, 0):
            raise ValueError(
                f"max_drop must be a finite number ≥ 0 in the unit of {self.monitor}, as 0.005, "
                f"got {self.max_drop!r}"
            )
        if not is_whole(self.rounds, 1):
            raise ValueError(f"rounds must be a whole number ≥ 1, got {self.rounds!r}")
        if not isinstance(self.higher_is_better, bool):
            object.__setattr__(self, "higher_is_better", higher_is_better(self.monitor))
        Sparsity(0.5, self.scope, self.floor)  # checks these two

    @property
    def ends(self) -> tuple[float, ...]:
        return tuple(1 / 3 + 2 / 3 * done / self.rounds for done in range(self.rounds + 1))

    def respects(self, outcome: Outcome, dense: Outcome) -> bool:
        """Whether a network is within the budget of the dense one."""
        drop = dense[self.monitor] - outcome[self.monitor]
        return (drop if self.higher_is_better else -drop) <= self.max_drop

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        good = [i for i, o in enumerate(outcomes) if self.respects(o, outcomes[0])]
        return max(good, key=lambda index: outcomes[index]["sparsity"], default=0)

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        if not outcomes:
            return None
        enough = outcomes[self.answer(outcomes)]["sparsity"]
        failures = sum(not self.respects(outcome, outcomes[0]) for outcome in outcomes)
        sparsity = 1 - (1 - enough) / 4 ** (0.5**failures)
        *before, last = (outcome["sparsity"] for outcome in outcomes)
        if last == enough in before or not enough < sparsity < 1:
            return None  # nothing is left that could go
        return Sparsity(sparsity, self.scope, self.floor, start=enough)

    def check(self, counts: list[int], sizes: list[int]) -> None:
        Sparsity(0.75, self.scope, self.floor).check(counts, sizes)

    def check_metrics(self, metrics: Mapping[str, float]) -> None:
        if self.monitor not in metrics:
            raise ValueError(
                f"monitor={self.monitor!r} is not among what validation logs: "
                f"{', '.join(sorted(metrics)) or 'nothing'}"
            )

    def shortfall(self, outcomes: Sequence[Outcome]) -> str | None:
        if len(outcomes) < 2 or self.answer(outcomes):
            return None
        name, (dense, *tried) = self.monitor, outcomes
        found = ", ".join(f"{o[name]:.4g} at {100 * o['sparsity']:.1f} %" for o in tried)
        return (
            f"no smaller network keeps {name} within {self.max_drop} of the dense network's "
            f"{dense[name]:.4g} ({found}): here is the dense one; allow more, or train longer"
        )

    def told(self, outcomes: Sequence[Outcome]) -> str:
        dense = outcomes[0]
        limit = dense[self.monitor] + (-self.max_drop if self.higher_is_better else self.max_drop)
        within = partial(self.respects, dense=dense)
        return verdicts(outcomes, self.monitor, limit, within, self.answer(outcomes))


def told(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """What the stages of a plan came to, in lines for a person to read."""
    if isinstance(plan, TellingPlan):
        return plan.told(outcomes)
    return table(outcomes, plan.answer(outcomes) if plan.goes_back else None)


def cuttable(targets: Targets, plan: Plan) -> Targets:
    """The weights that a plan can cut; the others are skipped, each with the reason.

    Raises:
        ValueError: there is none.
    """
    reasons = plan.left_out(targets)
    left = targets.without(reasons)
    if not left:
        each = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:4])
        more = ", …" if len(reasons) > 4 else ""
        raise ValueError(f"threshold: it can cut none of the weights: {each}{more}")
    return left


_ATTRIBUTES = ("ends", "goes_back", "gradual", "scope")


def as_plan(threshold: Any) -> Plan:
    """A plan as it is; anything else is the threshold of the one stage that the run is.

    Raises:
        ValueError: it is neither, nor a number; or a plan that lacks a part.
    """
    if not callable(getattr(threshold, "answer", None)) or isinstance(threshold, type):
        return Once(as_threshold(threshold))
    parts = (*_ATTRIBUTES, "threshold", "check", "check_metrics", "left_out", "shortfall")
    missing = [part for part in parts if not hasattr(threshold, part)]
    if missing:
        raise ValueError(
            f"threshold={threshold!r} has an answer, as a plan, but no {', '.join(missing)}: "
            "derive its class from l1prune.Plan"
        )
    plan: Plan = threshold
    return plan
