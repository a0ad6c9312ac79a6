"""Bars: the forms of a deployed network side by side, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from l1prune.checks import needing
from l1prune.deploy.latency import BATCHES
from l1prune.runs.deployment import Deployment, Measurement, shown
from l1prune.runs.looks import COLOURS, INK
from l1prune.training.picture import PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = tuple[str, Sequence[float | None]]


def draw(deployment: Deployment, path: str | Path) -> None:
    """Draw how many times less each form costs than the original; on the left, how good it is.

    Args:
        deployment: the original, and others.
        path: where the picture goes. Its suffix says what it is: `.png`, `.svg`, `.pdf`.
    """
    with needing("plots", "a picture"):
        from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state

    forms = deployment.measurements
    figure = Figure(figsize=(12, 1.6 + 0.62 * len(forms)), layout="constrained")
    panels = _panels(forms)
    every = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, series) in zip(every, panels.items(), strict=True):
        _bars(axes, title, series)
    metric = deployment.metric
    labels = [f"{one.name}\n{shown(metric, one.figures)}" for one in forms]
    every[0].set_yticks(range(len(forms)), labels)
    every[0].invert_yaxis()
    figure.suptitle(
        f"Times less than the network as it was trained; below each name its {metric}",
        color=INK, x=0.01, ha="left", size="medium",
    )  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _panels(forms: Sequence[Measurement]) -> Mapping[str, Sequence[SERIES]]:
    first = forms[0]
    return {
        "fewer": [
            ("parameters", [_times(first.parameters, one.parameters) for one in forms]),
            ("MACs", [_times(first.macs, one.macs) for one in forms]),
        ],
        "smaller": [("bytes", [_times(first.nbytes, one.nbytes) for one in forms])],
        "faster": [
            (f"batch {n}", [one.latency[n].speed if n in one.latency else None for one in forms])
            for n in BATCHES
        ],
    }


def _bars(axes: Axes, title: str, series: Sequence[SERIES]) -> None:
    height = 0.8 / len(series)
    for number, (name, values) in enumerate(series):
        places = [row - 0.4 + (number + 0.5) * height for row in range(len(values))]
        lengths = [value or 0 for value in values]
        bars = axes.barh(places, lengths, 0.92 * height, color=COLOURS[number], label=name)
        texts = ["" if value is None else f"{value:.3g}×" for value in values]
        axes.bar_label(bars, texts, padding=3, size="small", color=INK)
    axes.set_title(title, loc="left", size="medium", color=INK)
    axes.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.grid(axis="x", color=PALE)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.18)
    axes.legend(loc="lower right", frameon=False, fontsize="small", bbox_to_anchor=(1, 1), ncols=3,
                borderaxespad=0, handlelength=1, columnspacing=1)  # fmt: skip


def _times(before: float, after: float) -> float | None:
    return before / after if after else None
