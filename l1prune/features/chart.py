"""Chart: how large the features are that a network uses, as bars, or as a map of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from l1prune.checks import needing

COLOUR, GRID = "#0072B2", "#e6e6e6"
MOST = 30
"""The most features that have a bar."""


def bars(names: Sequence[str], sizes: Sequence[float], total: int) -> Any:
    """A figure of matplotlib: the largest features, a bar each.

    Args:
        names: of the features that are left, the largest first.
        sizes: of them.
        total: how many features there were.

    Raises:
        ImportError: matplotlib is missing.
    """
    figure = _figure(1.5 + 0.22 * min(max(len(names), 1), MOST))
    axes = figure.subplots()
    shown = range(min(len(names), MOST))
    axes.barh([*shown], [sizes[at] for at in shown], color=COLOUR)
    # A dollar would be taken for mathematics.
    axes.set_yticks([*shown], [names[at].replace("$", r"\$") for at in shown])
    axes.invert_yaxis()
    axes.set(xlabel="root mean square of its weights")
    axes.set_title(_title(len(names), total, len(names) > MOST), fontsize="medium")
    axes.grid(color=GRID, axis="x")
    axes.set_axisbelow(True)
    return figure


def heat_map(sizes: Tensor, left: Tensor) -> Any:
    """A figure of matplotlib: the pixels that are used, the darker the more; others are blank.

    Args:
        sizes: `(H, W)`.
        left: `(H, W)`, which are not zero.

    Raises:
        ImportError: matplotlib is missing.
    """
    figure = _figure(4.5)
    axes = figure.subplots()
    blank = torch.where(left, sizes, torch.full_like(sizes, float("nan")))
    shown = axes.imshow(blank.numpy(), cmap="viridis_r", vmin=0)
    axes.set_title(_title(int(left.sum()), left.numel(), False), fontsize="medium")
    figure.colorbar(shown, label="root mean square of its weights")
    return figure


def _title(left: int, total: int, is_cut: bool) -> str:
    return f"{left:,} of {total:,} features" + (f", the {MOST} largest" if is_cut else "")


def _figure(height: float) -> Any:
    with needing("plots", "a picture"):
        from matplotlib.figure import Figure  # without pyplot it needs no display, leaves no state
    return Figure(figsize=(6, height), layout="constrained")
