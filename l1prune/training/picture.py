"""The picture of one run: what it is judged by against the weights left, as it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l1prune.training.validations import Validations

BLUE, GREY, PALE = "#0072B2", "#777777", "#e6e6e6"
MOST = 4
"""The most figures that are drawn side by side."""


def drawn(validations: Validations) -> Any | None:
    """A figure of matplotlib: for each metric the way over the plane, and the networks it came to.

    Returns:
        None: matplotlib is missing, or nothing was validated.
    """
    names = sorted({name for _, _, figures in validations.rows for name in figures})[:MOST]
    try:
        from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state
    except ImportError:
        return None
    if not names:
        return None
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw(axes, name, validations.trajectory(name), _ends(validations, name))
    return figure


def _ends(validations: Validations, name: str) -> list[tuple[int, float]]:
    return [(n, figures[name]) for n, figures in validations.frontier() if name in figures]


def _draw(
    axes: Any, name: str, way: Sequence[tuple[int, float]], ends: Sequence[tuple[int, float]]
) -> None:
    for points, style in (
        (way, {"color": GREY, "marker": ".", "linewidth": 0.8, "label": "validations"}),
        (ends, {"color": BLUE, "marker": "o", "linestyle": "none", "label": "what it came to"}),
    ):
        axes.plot([max(n, 1) for n, _ in points], [value for _, value in points], **style)
    # A dollar would be taken for mathematics.
    axes.set(xlabel="prunable weights left", ylabel=name.replace("$", r"\$"))
    scale_by_weights(axes)
    axes.grid(color=PALE)
    axes.legend(frameon=False)


def scale_by_weights(axes: Any) -> None:
    """Let weights left go along a logarithmic axis, in round numbers."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    axes.set(xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
