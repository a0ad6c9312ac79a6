"""Outcomes: what the stages of a plan came to, as a table that a person can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from l1prune.weights.table import aligned

Outcome = dict[str, float]
"""What a stage came to: the `sparsity` of all prunable weights, and the figures of validation."""

MOST = 4
"""Figures in a table; a module may log dozens."""


@runtime_checkable
class TellingPlan(Protocol):
    """A plan that has more to say of its stages than a line for each."""

    def told(self, outcomes: Sequence[Outcome]) -> str:
        """What they came to, in lines for a person to read."""
        ...


def table(outcomes: Sequence[Outcome], kept: int | None = None) -> str:
    """A line for each stage, with its share of zeros and the figures of its validation.

    Args:
        outcomes: of the stages that have ended.
        kept: which of them is the result; None: each is one.

    >>> print(table([{"sparsity": 0.5, "val/loss": 0.31}, {"sparsity": 0.9, "val/loss": 0.33}]))
    stage   zeros  val/loss
        1  50.0 %      0.31
        2  90.0 %      0.33
    """
    names = _figures(outcomes)
    rows = [["stage", "zeros", *names]]
    for index, outcome in enumerate(outcomes):
        figures = [f"{outcome[name]:.4g}" if name in outcome else "" for name in names]
        row = [f"{index + 1}", f"{100 * outcome['sparsity']:.1f} %", *figures]
        rows.append([*row, "← kept"] if index == kept else row)
    return "\n".join(aligned(_even(rows), left=0))


def verdicts(
    outcomes: Sequence[Outcome],
    monitor: str,
    limit: float,
    within: Callable[[Outcome], bool],
    kept: int,
) -> str:
    """The dense network and each round after it: what it came to, and whether that is allowed.

    Args:
        outcomes: the dense network's, and one for each round that has ended.
        monitor: the metric that decides.
        limit: the worst of its values that is allowed.
        within: whether an outcome is.
        kept: which of them is the result.

    >>> outcomes = [{"sparsity": 0.0, "acc": 0.98}, {"sparsity": 0.75, "acc": 0.9}]
    >>> print(verdicts(outcomes, "acc", 0.97, lambda outcome: outcome["acc"] >= 0.97, kept=0))
              zeros   acc
    dense     0.0 %  0.98          ← kept
    round 1  75.0 %   0.9  failed
    acc may be 0.97 at worst
    """
    rows = [["", "zeros", monitor, ""]]
    for index, outcome in enumerate(outcomes):
        name = f"round {index}" if index else "dense"
        verdict = ("passed" if within(outcome) else "failed") if index else ""
        row = [name, f"{100 * outcome['sparsity']:.1f} %", f"{outcome[monitor]:.4g}", verdict]
        rows.append([*row, "← kept"] if index == kept else row)
    lines = aligned(_even(rows), left=1)
    return "\n".join([*lines, f"{monitor} may be {limit:.4g} at worst"])


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    """The figures to show: those of validation by their names, or, if none is called so, all."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome))
    ours = ("params/", "prune/")
    every = [name for name in names if name != "sparsity" and not name.startswith(ours)]
    return ([name for name in every if name.startswith("val")] or every)[:MOST]


def _even(rows: list[list[str]]) -> list[list[str]]:
    """Rows of equally many cells."""
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]
