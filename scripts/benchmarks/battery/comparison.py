"""Tables of the battery: contenders beside plain gradual pruning, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from benchmarks.battery.tasks import TASKS
from l1prune.runs.spread import Spread

Figures = Mapping[tuple[str, str, int], float]
"""By task, contender and seed."""

BASE = "gradual"


def verdict(spread: Spread) -> str:
    """`won`, `lost` or, within its standard error, `level`; of a single seed nothing is known.

    >>> verdict(Spread(0.5, 0.2, 3)), verdict(Spread(-0.5, 0.6, 3))
    ('won', 'level')
    """
    if spread.error is None or abs(spread.mean) <= spread.error:
        return "level"
    return "won" if spread.mean > 0 else "lost"


def differences(figures: Figures, contender: str, task: str) -> list[float]:
    """Of a contender to the baseline, seed by seed."""
    seeds = sorted({seed for name, who, seed in figures if (name, who) == (task, contender)})
    return [
        figures[task, contender, seed] - figures[task, BASE, seed]
        for seed in seeds
        if (task, BASE, seed) in figures
    ]


def table(figures: Figures, contenders: Sequence[str], tasks: Sequence[str]) -> str:
    """A line for each task: the means of all, and how the last compares with the baseline."""
    lines = [
        "| task | zeros | " + " | ".join(contenders) + f" | {contenders[-1]} − {BASE} | |",
        "| --- | ---: |" + " ---: |" * (len(contenders) + 1) + " --- |",
    ]
    for task in tasks:
        cells = [
            _mean(figures, task, contender, TASKS[task].metric.unit) for contender in contenders
        ]
        apart = differences(figures, contenders[-1], task)
        if apart:
            one = Spread.of(apart)
            error = "" if one.error is None else f" ± {one.error:.2g}"
            cells += [f"{one.mean:+.3g}{error} ({one.count})", verdict(one)]
        lines.append(f"| {task} | {TASKS[task].sparsity:.1%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(figures: Figures, task: str, contender: str, unit: str) -> str:
    found = [value for (name, who, _), value in figures.items() if (name, who) == (task, contender)]
    if not found:
        return "–"
    return f"{fmean(found):.2f} %" if unit == "%" else f"{fmean(found):.4f}"


def summary(figures: Figures, contenders: Sequence[str], tasks: Sequence[str]) -> str:
    """A line for each contender: how often it won, was level and lost, and its mean rank."""
    lines = [
        f"| | won over {BASE} | level | lost | mean rank |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    places = ranks(figures, contenders, tasks)
    for contender in contenders:
        apart = [differences(figures, contender, task) for task in tasks]
        verdicts = [verdict(Spread.of(one)) for one in apart if one and contender != BASE]
        counts = [str(verdicts.count(kind)) for kind in ("won", "level", "lost")]
        shown = ["–"] * 3 if contender == BASE else counts
        mean = f"{fmean(places[contender]):.2f}" if places[contender] else "–"
        lines.append(f"| {contender} | " + " | ".join([*shown, mean]) + " |")
    return "\n".join(lines)


def ranks(
    figures: Figures, contenders: Sequence[str], tasks: Sequence[str]
) -> dict[str, list[float]]:
    """The place of each contender, 1 the best, in each task and seed that all have run; ties share.

    >>> figures = {("deep", "a", 0): 1.0, ("deep", "b", 0): 3.0, ("deep", "c", 0): 1.0}
    >>> ranks(figures, ["a", "b", "c"], ["deep"])
    {'a': [2.5], 'b': [1.0], 'c': [2.5]}
    """
    found: dict[str, list[float]] = {contender: [] for contender in contenders}
    for task in tasks:
        for seed in sorted({seed for name, _, seed in figures if name == task}):
            of = {c: figures[task, c, seed] for c in contenders if (task, c, seed) in figures}
            if len(of) < len(contenders):
                continue
            for contender, value in of.items():
                above = sum(other > value for other in of.values())
                equal = sum(other == value for other in of.values())
                found[contender].append(above + (equal + 1) / 2)
    return found
