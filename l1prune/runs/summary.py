"""The summary of a run: the figures that it ends with, in `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from l1prune.checks import DivergenceError
from l1prune.weights.report import SparsityReport


def summary_of(
    figures: Mapping[str, Tensor], report: SparsityReport, seed: int, seconds: float
) -> dict[str, Any]:
    """What a run leaves in `summary.json`: its figures and counts, in plain values.

    Args:
        figures: of validation and test, as the trainer has them.
        report: the counts of the finished model.
        seed: of the run.
        seconds: that it trained.

    Raises:
        DivergenceError: a figure is NaN or infinite.
    """
    told = [name for name in sorted(figures) if name.startswith(("test/", "val/"))]
    for name in told:
        if not figures[name].isfinite():
            raise DivergenceError(f"{name} is {figures[name].item()}: training diverged")
    return {
        **{name: round(figures[name].item(), 6) for name in told},
        **report.to_dict(),
        "seed": seed,
        "seconds": round(seconds, 2),
    }


def in_words(summary: dict[str, float]) -> str:
    """The accuracy of a run and what it took, on one line."""
    return (
        f"test accuracy {100 * summary['test/accuracy']:.2f} %, "
        f"validation {100 * summary['val/accuracy']:.2f} %, "
        f"{summary['seconds']:.0f} s of training"
    )
