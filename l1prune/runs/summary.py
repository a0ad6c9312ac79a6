"""The summary of a run: the figures that it ends with, in `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from l1prune.checks import DivergenceError, six_digits
from l1prune.runs.monitor import Monitor, is_evaluation
from l1prune.weights.report import SparsityReport


def summary_of(
    figures: Mapping[str, Tensor],
    report: SparsityReport,
    monitor: Monitor,
    seed: int | None,
    seconds: float,
) -> dict[str, Any]:
    """What a run leaves in `summary.json`: its figures and counts, in plain values.

    A figure that is no number is left out, such as an area under a curve of one class, unless the
    run is judged by it, or it is a loss.

    Args:
        figures: of validation and test, as the trainer has them.
        report: the counts of the finished model.
        monitor: by what the run is judged.
        seed: of the run; None where it is not known.
        seconds: that it trained.

    Raises:
        DivergenceError: the figure that the run is judged by, or a loss, is NaN or infinite.
    """
    judged = {monitor.name, monitor.test}
    told = [name for name in sorted(figures) if name in judged or is_evaluation(name)]
    for name in told:
        if (name in judged or "loss" in name) and not figures[name].isfinite():
            raise DivergenceError(f"{name} is {figures[name].item()}: training diverged")
    finite = {name: figures[name].item() for name in told if figures[name].isfinite()}
    return {
        **rounded(finite | report.to_dict()),
        "monitor": monitor.name,
        "mode": monitor.mode,
        **({} if seed is None else {"seed": seed}),
        "seconds": round(seconds, 2),
    }


def rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as files have them: with six digits that count; whole numbers and words as they are.

    >>> rounded({"val_mse": 0.123456789, "params/total": 1234567890})
    {'val_mse': 0.123457, 'params/total': 1234567890}
    """
    return {n: six_digits(x) if isinstance(x, float) else x for n, x in figures.items()}


def monitor_of(summary: Any) -> Monitor:
    """By what a run was judged; one that does not say it, by its accuracy.

    Raises:
        ValueError: the summary is no mapping, or names no such metric.

    >>> monitor_of({"monitor": "val/mse", "mode": "min"}), monitor_of({})
    (Monitor(name='val/mse', mode='min'), Monitor(name='val/accuracy', mode='max'))
    """
    if not isinstance(summary, Mapping):
        raise ValueError(f"must hold an object, but holds a {type(summary).__name__}")
    name, mode = summary.get("monitor"), summary.get("mode")
    if name is None:
        return Monitor()
    return Monitor.of(name, mode) if isinstance(name, str) else Monitor(name)  # which refuses it


def in_words(summary: Mapping[str, Any]) -> str:
    """How good the network of a run is, and what it took, on one line.

    >>> in_words({"monitor": "val_mse", "mode": "min", "val_mse": 0.25, "seconds": 61.2})
    'validation mse 0.2500, 61 s of training'
    """
    monitor = monitor_of(summary)
    parts = [
        f"{where} {monitor.words} {monitor.shown(summary[name])}"
        for where, name in (("test", monitor.test), ("validation", monitor.name))
        if name in summary
    ]
    return ", ".join([*parts, f"{summary['seconds']:.0f} s of training"])
