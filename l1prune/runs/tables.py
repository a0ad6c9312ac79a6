"""Tables of runs: as Markdown that also reads well as it is, and as CSV with every digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from l1prune.runs.costs import COSTS
from l1prune.runs.counts import ALL, PRUNABLE, UNKNOWN
from l1prune.runs.escapes import cell, markdown
from l1prune.runs.frontier import pareto
from l1prune.runs.groups import Group, by_scale, groups_of
from l1prune.runs.points import DENSE, Point
from l1prune.runs.scale import Scale
from l1prune.runs.settings import differing
from l1prune.words import some_of

T = TypeVar("T")
MEANS = "Mean ± standard error over seeds"
PAIRED, UNPAIRED = "seed by seed, over the seeds that both have", "of means"
NO_FIGURE = "— where not every run of it has a figure on {data}."
NO_COUNT = "— where not every run of it says how many parameters it has."
NO_FIGURE_OF_IT = "— where it has no figure on {data}."
NO_COUNT_OF_IT = "— where it does not say how many parameters it has."
BEST_OF_IT = "* its recipe and size is one of the best trade-offs, by the mean on {data}."
OTHERWISE = "† beyond pruning the two differ in {settings}."
BEST = "* no other is as good on {data} with fewer prunable weights, or better with as many."


def table(points: Sequence[Point], against: str = DENSE) -> str:
    """A Markdown table of recipes and sizes, each with its mean over seeds; most weights first.

    It can be printed: what runs and recipes are called is neither markup nor moves a cursor. Runs
    that are judged by different metrics come in a table for each.

    Args:
        points: the runs.
        against: the recipe that the others are compared with, seed by seed.

    >>> print(table([Point("a", "l1", 1000, 0.9), Point("b", "l1", 2000, 0.8)]))
    | recipe | prunable weights left | all parameters left | runs | test accuracy | best | run |
    | :----- | --------------------: | ------------------: | ---: | ------------: | ---: | :-- |
    | l1     |                 2,000 |                   — |    1 |       80.00 % |      | b   |
    | l1     |                 1,000 |                   — |    1 |       90.00 % |    * | a   |
    <BLANKLINE>
    — where not every run of it says how many parameters it has.
    * no other is as good on test with fewer prunable weights, or better with as many.
    """
    return _by_metric(points, lambda some, scale: _groups(some, scale, against))


def runs_table(points: Sequence[Point]) -> str:
    """A Markdown table of all runs, most weights first, with the folder that each is in.

    >>> print(runs_table([Point("a", "l1", 1000, 0.9, {"seed": 3})]))
    | recipe | prunable weights left | all parameters left | seed | test accuracy | best | run |
    | :----- | --------------------: | ------------------: | ---: | ------------: | ---: | :-- |
    | l1     |                 1,000 |                   — |    3 |       90.00 % |    * | a   |
    <BLANKLINE>
    — where it does not say how many parameters it has.
    * its recipe and size is one of the best trade-offs, by the mean on test.
    """
    return _by_metric(points, _runs)


def csv_table(points: Sequence[Point]) -> str:
    """A CSV table of runs, as exact as they were written: figures, and settings that differ.

    A text that a spreadsheet would run as a formula begins with an apostrophe.

    >>> summary = {"test/accuracy": 0.9, "params/nonzero": 10}
    >>> print(csv_table([Point("a", "l1", 10, 0.9, summary)]), end="")
    run,recipe,best,test/accuracy,params/nonzero
    a,l1,1,0.9,10
    """
    front = {number for _, some in by_scale(points) for number in _best_runs(groups_of(some))}
    figures = list(dict.fromkeys(key for point in points for key in point.summary))
    costs = [name for name in COSTS if any(name in point.costs for point in points)]
    figures += [name for name in costs if name not in figures]
    settings = [key for key in differing(points) if key not in figures]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(map(cell, ["run", "recipe", "best", *figures, *settings]))
    for p in _in_order(points):
        told = [p.summary.get(key, p.costs.get(key, "")) for key in figures]
        told += [p.settings.get(key, "") for key in settings]
        writer.writerow(map(cell, [p.name, p.recipe, int(id(p) in front), *told]))
    return lines.getvalue()


def _best_runs(groups: Sequence[Group]) -> set[int]:
    """By their ids the runs of groups that are the best trade-offs; one metric judges them all."""
    return {id(point) for group in pareto(groups) for point in group.points}


def judged_by(scale: Scale, scales: Sequence[Scale]) -> str:
    """What the runs of a scale are judged by, so that no other scale is called like it.

    >>> from l1prune.runs.monitor import Monitor
    >>> test, validation = Scale(Monitor(), True), Scale(Monitor(), True, tested=False)
    >>> judged_by(test, [test]), judged_by(test, [test, validation])
    ('val/accuracy', 'val/accuracy (test)')
    """
    alike = [one for one in scales if one.monitor == scale.monitor]
    return scale.monitor.name + (f" ({scale.data})" if len(alike) > 1 else "")


def _by_metric(points: Sequence[Point], make: Any) -> str:
    scales = [scale for scale, _ in by_scale(points)]
    parts: list[str] = []
    for scale, some in by_scale(points):
        end = "higher" if scale.monitor.mode == "max" else "lower"
        title = f"Judged by {markdown(judged_by(scale, scales))}, {end} is better:\n\n"
        parts.append((title if len(scales) > 1 else "") + make(some, scale))
    return "\n\n".join(parts)


def _groups(points: Sequence[Point], scale: Scale, against: str) -> str:
    groups = groups_of(points)
    best = pareto(groups)
    compared = [group.compared_with(groups, against) for group in groups]
    of_runs = any(p.seed is None for p in points)
    points_of = " (points)" if scale.percent else ""
    columns: list[tuple[str, Sequence[str]]] = [
        ("recipe", [markdown(group.name) for group in groups]),
        (PRUNABLE, [str(group.weights) for group in groups]),
        (ALL, [str(group.parameters) for group in groups]),
        ("runs" if of_runs else "seeds",
         [f"{len(g.points)}" if of_runs else g.seeds for g in groups]),
        (scale.title, [scale.spread(group.figure) for group in groups]),
        (scale.beside, beside := _where_known([g.beside for g in groups], scale.spread)),
        (f"− {markdown(against)}{points_of}",
         [one.shown(scale) if one else "" for one in compared]),
        ("best", ["*" if group in best else "" for group in groups]),
    ]  # fmt: skip
    if all(len(group.points) == 1 for group in groups):
        columns.append(("run", [markdown(group.points[0].name) for group in groups]))
    means = [MEANS] if any(len(group.figures) > 1 for group in groups) else []
    size = "" if against == DENSE else " at equal size"
    how = _compared([one.less.paired for one in compared if one], size)
    said = "; ".join([*means, *([how] if how and (means or UNPAIRED in how) else [])])
    notes = [f"{said[0].upper()}{said[1:]}."] if said else []
    notes += [NO_COUNT] if any(group.parameters.left is None for group in groups) else []
    notes += [NO_FIGURE.format(data=scale.beside)] if UNKNOWN in beside else []
    if told := dict.fromkeys(markdown(key) for one in compared if one for key in one.otherwise):
        notes.append(OTHERWISE.format(settings=some_of([*told], 4)))
    return "\n".join([_aligned(columns), "", *notes, BEST.format(data=scale.chosen)])


def _compared(paired: Sequence[bool], where: str) -> str:
    """How differences were taken, each seed by seed or of means; empty where there is none."""
    if not paired:
        return ""
    if not any(paired):
        return f"differences{where} {UNPAIRED}, as they share no seed"
    otherwise = "" if all(paired) else f", and {UNPAIRED} where they share none"
    return f"differences{where} {PAIRED}{otherwise}"


def _runs(points: Sequence[Point], scale: Scale) -> str:
    groups = groups_of(points)
    front = _best_runs(groups)
    name = {id(point): group.name for group in groups for point in group.points}
    points = _in_order(points)
    columns: list[tuple[str, Sequence[str]]] = [
        ("recipe", [markdown(name[id(p)]) for p in points]),
        (PRUNABLE, [str(p.weights) for p in points]),
        (ALL, [str(p.parameters) for p in points]),
        ("seed", ["" if p.seed is None else f"{p.seed}" for p in points]),
        (scale.title, [scale.shown(p.on(scale)) for p in points]),
        (scale.beside, beside := _where_known([p.beside(scale) for p in points], scale.shown)),
        ("best", ["*" if id(p) in front else "" for p in points]),
        ("run", [markdown(p.name) for p in points]),
    ]  # fmt: skip
    notes = [NO_COUNT_OF_IT] if any(p.parameters.left is None for p in points) else []
    notes += [NO_FIGURE_OF_IT.format(data=scale.beside)] if UNKNOWN in beside else []
    return "\n".join([_aligned(columns), "", *notes, BEST_OF_IT.format(data=scale.chosen)])


def _where_known(values: Sequence[T | None], shown: Callable[[T], str]) -> list[str]:
    """A column in which a dash stands for what is not known; empty where nothing is."""
    if all(value is None for value in values):
        return [""] * len(values)
    return [UNKNOWN if value is None else shown(value) for value in values]


def _in_order(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda p: (-p.nonzero, p.monitor.rank(p.figure), p.name))


def _aligned(columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Markdown of the columns that have something in them; names begin at their left edge."""
    shown = [(name, cells) for name, cells in columns if any(cells) or name == "best"]
    names = [name for name, _ in shown]
    rows = [names, *map(list, zip(*(cells for _, cells in shown), strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if name in ("recipe", "run") else ">" for name in names]
    rules = {"<": ":{:-<{}}", ">": "{:->{}}:"}
    rows.insert(1, [rules[s].format("", w - 1) for s, w in zip(sides, widths, strict=True)])
    lines = [" | ".join(map("{:{}{}}".format, row, sides, widths)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
