"""Stages: what a path noted of the network that each of them ended with, in `frontier.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l1prune.checks import is_number, is_whole
from l1prune.runs.files import read_json

FRONTIER = "frontier.json"
NONZERO = "params/nonzero"


def read_path(folder: str | Path) -> list[dict[str, Any]]:
    """The stages that `PathCheckpoint` noted in a folder, sparsest last.

    Raises:
        ValueError: they are no such notes.

    >>> read_path("no such folder")
    []
    """
    file = Path(folder) / FRONTIER
    try:
        stages = read_json(file)
    except FileNotFoundError:
        return []
    if not isinstance(stages, list) or not all(map(_is_stage, stages)):
        raise ValueError(
            f"{file}: must hold a list of stages, each with {NONZERO} and a checkpoint"
        )
    return stages


def _is_stage(stage: Any) -> bool:
    return (
        isinstance(stage, dict)
        and is_number(stage.get("sparsity"), 0, 1)
        and is_whole(stage.get(NONZERO), 0)
        and isinstance(file := stage.get("checkpoint"), str)
        and not (Path(file).is_absolute() or ".." in Path(file).parts)  # in the run's own folder
    )
