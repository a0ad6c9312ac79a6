"""Answers of the study of claims: each pressure at the λ that validates best, beside none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

from benchmarks.claims.data import CONDITIONS, matters
from benchmarks.claims.runs import KINDS, Trial
from l1prune.runs.spread import Spread

Found = dict[Trial, Mapping[str, Any]]
"""What each network came to."""

NONE = "none"


def chosen(found: Found, task: str, condition: str, kind: str) -> dict[int, Trial]:
    """By seed, the network of the λ that validates best; of equals that of the least.

    A seed of which some λ have not been run has none.
    """
    by_seed: dict[int, list[Trial]] = {}
    for trial in sorted(_of(found, task, condition, kind), key=lambda one: one.strength):
        by_seed.setdefault(trial.seed, []).append(trial)
    return {
        seed: max(every, key=lambda one: found[one]["val"])  # the first of equals
        for seed, every in by_seed.items()
        if len(every) == len(KINDS[kind].strengths)
    }


def gain(found: Found, task: str, condition: str, kind: str, figure: str = "test") -> Spread:
    """What a pressure adds to a figure, paired by seed, at the λ that validates best."""
    mine, base = (chosen(found, task, condition, one) for one in (kind, NONE))
    seeds = sorted(mine.keys() & base.keys())
    return Spread.of([found[mine[s]][figure] - found[base[s]][figure] for s in seeds])


def gains(found: Found, task: str) -> str:
    """Markdown: test scores without pressure, and what each pressure adds, by condition."""
    conditions = [one for one in CONDITIONS if chosen(found, task, one, NONE)]
    lines = [
        "| test score, % | " + " | ".join(conditions) + " |",
        "| --- |" + " ---: |" * len(conditions),
    ]
    for kind, about in KINDS.items():
        cells = [_cell(found, task, condition, kind) for condition in conditions]
        lines.append(f"| {about.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Found, task: str, condition: str, kind: str) -> str:
    best = chosen(found, task, condition, kind)
    if not best:
        return "–"
    if kind == NONE:
        return f"{_mean(found, best.values(), 'test'):.1f}"
    one = gain(found, task, condition, kind)
    error = "" if one.error is None else f" ± {one.error:.1f}"
    return f"{one.mean:+.1f}{error} ({one.count})"


def looks(found: Found, task: str, condition: str = "clean") -> str:
    """Markdown: the networks themselves, at the λ that validates best; scores in points.

    The gap is between training and test. The top inputs are those with the largest weights: which
    share of them matter, where that is known, else which share two seeds have in common. Inputs or
    weights are off by noise of half a deviation, or a tenth. Seeds: the deviation of test scores.
    """
    lines = [
        f"| {condition} | λ | gap | zeros | of constant inputs | < 1e-3 | inputs left | top inputs "
        "| inputs off | weights off | seeds | worst λ |",
        "| --- | ---: |" + " ---: |" * 10,
    ]
    for kind, about in KINDS.items():
        best = [*chosen(found, task, condition, kind).values()]
        if best:
            cells = _look(found, best)
            lines.append(f"| {about.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _look(found: Found, best: Sequence[Trial]) -> list[str]:
    test = _mean(found, best, "test")
    worst = [min(one["test"] for one in _like(found, trial)) for trial in best]
    return [
        _range(trial.strength for trial in best),
        f"{_mean(found, best, 'train') - test:.1f}",
        f"{_mean(found, best, 'zeros'):.0f} %",
        f"{_mean(found, best, 'zeros_still'):.0f} %",
        f"{_mean(found, best, 'small'):.0f} %",
        f"{_mean(found, best, 'inputs_left'):.0f} of {_mean(found, best, 'inputs'):.0f}",
        _percent(_right(found, best)),
        f"{_mean(found, best, 'test_inputs_off') - test:+.1f}",
        f"{_mean(found, best, 'test_weights_off') - test:+.1f}",
        "–" if len(best) == 1 else f"± {stdev(found[trial]['test'] for trial in best):.1f}",
        f"{fmean(worst) - test:+.1f}",
    ]


def _right(found: Found, best: Sequence[Trial]) -> float | None:
    """Which share of the top inputs matter; unknown, which share two seeds have in common."""
    known = [matters(trial.task, trial.seed) for trial in best]
    tops: list[list[int]] = [found[trial]["top"] for trial in best]
    shares = [
        len({*top} & {*right}) / len(top)
        for top, right in zip(tops, known, strict=True)
        if right is not None
    ]
    return fmean(shares) if shares else overlap(tops)


def overlap(tops: Sequence[Sequence[int]]) -> float | None:
    """The mean share that two seeds have in common; None of a single seed.

    >>> overlap([[1, 2], [2, 3], [2, 1]])
    0.666...
    """
    pairs = [len({*a} & {*b}) / len(a) for a, b in combinations(tops, 2)]
    return fmean(pairs) if pairs else None


def _like(found: Found, trial: Trial) -> list[Mapping[str, Any]]:
    """All λ of a pressure, in the same seed."""
    every = _of(found, trial.task, trial.condition, trial.kind)
    return [found[one] for one in every if one.seed == trial.seed]


def _of(found: Found, task: str, condition: str, kind: str) -> list[Trial]:
    wanted = (task, condition, kind)
    return [one for one in found if (one.task, one.condition, one.kind) == wanted]


def _mean(found: Found, some: Iterable[Trial], figure: str) -> float:
    return fmean(found[trial][figure] for trial in some)


def _range(strengths: Iterable[float]) -> str:
    low, *rest = sorted({*strengths})
    return f"{low:g}" if not rest else f"{low:g} – {rest[-1]:g}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
