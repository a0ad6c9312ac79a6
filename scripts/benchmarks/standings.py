"""How contenders did, as a table and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from benchmarks.trials import CONTENDERS, DENSE, OURS, Plan, Task, Trial
from l1prune.runs.looks import COLOURS, INK, MARKERS
from l1prune.runs.spread import Difference, Seed, Spread, difference
from l1prune.training.picture import PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Standing:
    """How one contender did at one sparsity, over the seeds.

    Attributes:
        left: weights that are not zero in the stored network, run by run.
        weights: how many there could be.
        accuracies: on the test set, from 0 to 1, by seed.
        validation: the same on the images held out from training.
    """

    trial: Trial
    left: tuple[int, ...]
    weights: int
    accuracies: Mapping[Seed, float]
    validation: Mapping[Seed, float]


def standings(plan: Plan, trials: Sequence[Trial]) -> list[Standing]:
    """Figures of what is finished, all seeds of a trial together."""
    runs: dict[Trial, dict[int, Path]] = {}
    for trial in trials:
        if plan.finished(trial):
            runs.setdefault(replace(trial, seed=0), {})[trial.seed] = plan.run_of(trial)
    return [standing(trial, folders) for trial, folders in runs.items()]


def standing(trial: Trial, runs: Mapping[int, Path]) -> Standing:
    """Read runs that differ in nothing but the seed."""
    figures = {seed: json.loads((run / "summary.json").read_text()) for seed, run in runs.items()}
    counted = [count(run / "model.safetensors") for run in runs.values()]
    return Standing(
        trial,
        tuple(left for left, _ in counted),
        counted[0][1],
        {seed: figure["test/accuracy"] for seed, figure in figures.items()},
        {seed: figure["val/accuracy"] for seed, figure in figures.items()},
    )


def count(file: Path) -> tuple[int, int]:
    """Weights left, and all: in the file, whatever a callback says; matrices and kernels only."""
    weights = [w for w in load_file(file).values() if w.ndim > 1]
    return sum(int(w.count_nonzero()) for w in weights), sum(w.numel() for w in weights)


def winners(found: Sequence[Standing]) -> list[Standing]:
    """Of each contender at each sparsity the strength that validates best, of equals the least."""
    best: dict[Trial, Standing] = {}
    for one in sorted(found, key=merit):
        best.setdefault(replace(one.trial, strength=None), one)
    return [one for one in found if one in best.values()]


def merit(one: Standing) -> tuple[float, float]:
    """Less is better. Figures in files have six digits: what differs in the last is equal."""
    return (-round(mean(one.validation.values()), 5), one.trial.strength or 0.0)


def table(task: Task, found: Sequence[Standing]) -> str:
    """Markdown: who is left with how many weights, how good they are, and beside l1prune's."""
    lines = [
        f"**{task.title}**",
        "",
        "| weights left | contender | λ | test accuracy | less l1prune's | runs |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    ours = {one.trial.sparsity: one for one in found if one.trial.contender == OURS}
    for one in ordered(task, found):
        base = ours.get(one.trial.sparsity)
        beside = "" if base in (None, one) else points(difference(one.accuracies, base.accuracies))
        lines.append(
            f"| {counts(one.left)} | {called(one.trial)} | {strength(one.trial)} | "
            f"{accuracy(Spread.of([*one.accuracies.values()]))} | {beside} | "
            f"{len(one.accuracies)} |"
        )
    return "\n".join(lines)


def tried(task: Task, found: Sequence[Standing]) -> str:
    """Markdown: validation accuracy by strength, the best in bold."""
    best = winners(found)
    lines = [
        f"**{task.title}**",
        "",
        "| sparsity | contender | λ | validation accuracy | runs |",
        "|---:|---|---:|---:|---:|",
    ]
    for one in found:
        if one.trial.task is task:
            figure = percent(mean(one.validation.values()))
            figure = f"**{figure}**" if one in best else figure
            share = f"{100 * one.trial.sparsity:g} %"
            name, runs = called(one.trial), len(one.validation)
            lines.append(f"| {share} | {name} | {strength(one.trial)} | {figure} | {runs} |")
    return "\n".join(lines)


def ordered(task: Task, found: Sequence[Standing]) -> list[Standing]:
    """Those of a task, by sparsity, the best of each first."""
    own = [one for one in found if one.trial.task is task]
    return sorted(own, key=lambda one: (one.trial.sparsity, -mean(one.accuracies.values())))


def called(trial: Trial) -> str:
    return CONTENDERS.get(trial.contender, trial.contender)


def strength(trial: Trial) -> str:
    return "" if trial.strength is None else f"{trial.strength:g}"


def counts(left: Sequence[int]) -> str:
    low, high = min(left), max(left)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def accuracy(spread: Spread) -> str:
    """A mean with its standard error, if there is one, in per cent."""
    return f"{100 * spread.mean:.2f}{error(spread)} %"


def points(of: Difference) -> str:
    """A difference in points, with its standard error, if there is one."""
    found = round(100 * of.spread.mean, 2)
    return (f"{found:+.2f}".replace("-", "−") if found else "0.00") + error(of.spread)


def error(spread: Spread) -> str:
    """The standard error, in points; of a single run there is none."""
    return "" if spread.error is None else f" ± {100 * spread.error:.2f}"


def draw(tasks: Sequence[Task], found: Sequence[Standing], path: Path) -> None:
    """A panel for each task: means over the seeds, and bars from the lowest to the highest."""
    from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state

    widths = [2 + len(task.sparsities) for task in tasks]
    figure = Figure(figsize=(1 + sum(widths), 5), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False, width_ratios=widths)[0]
    for task, axes in zip(tasks, panels, strict=True):
        prepare(axes, task)
        own = [one for one in found if one.trial.task is task]
        for place, name in enumerate(CONTENDERS):
            # Side by side: at one size points would hide each other's bars.
            aside = 1.035 ** (place - (len(CONTENDERS) - 1) / 2)
            draw_line(axes, [one for one in own if one.trial.contender == name], place, aside)
        for one in own:
            if one.trial.contender == DENSE:
                reached = one.accuracies.values()
                axes.axhspan(min(reached), max(reached), color=PALE, zorder=0)
                axes.axhline(mean(reached), color=INK, linestyle=":", label="dense")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def prepare(axes: Axes, task: Task) -> None:
    """Sizes from many to few, each with a tick of its own; accuracy in per cent."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set(xscale="log", xlabel="share of the weights left", ylabel="test accuracy")
    axes.set_title(task.title.replace(", ", "\n"), fontsize="medium", color=INK)
    left = [1 - sparsity for sparsity in task.sparsities]
    axes.set_xlim(min(left) / 1.6, max(left) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator(left))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g} %")
    axes.grid(color=PALE)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)


def draw_line(axes: Axes, line: Sequence[Standing], place: int, aside: float) -> None:
    """One contender from size to size."""
    if not line:
        return
    line = sorted(line, key=lambda one: one.trial.sparsity)
    # Where they are, not where they should be: a lasso may remove more than was asked for.
    x = [mean(one.left) / one.weights * aside for one in line]
    y = [mean(one.accuracies.values()) for one in line]
    low = [middle - min(one.accuracies.values()) for middle, one in zip(y, line, strict=True)]
    high = [max(one.accuracies.values()) - middle for middle, one in zip(y, line, strict=True)]
    style = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 6}
    label = called(line[0].trial)
    axes.errorbar(x, y, (low, high), label=label, linewidth=1.2, capsize=2, **style)
