"""What a path noted of its stages is read as it is, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from l1prune.runs.stages import read_path

STAGE = {"sparsity": 0.5, "params/nonzero": 5, "checkpoint": "path/50.00.ckpt"}


def test_a_folder_without_notes_has_no_stages(tmp_path: Path) -> None:
    assert read_path(tmp_path) == []
    (tmp_path / "frontier.json").write_text(json.dumps([STAGE]))
    assert read_path(tmp_path) == [STAGE]


@pytest.mark.parametrize(
    "notes",
    [
        {},
        [[]],
        [STAGE | {"sparsity": 2}],
        [STAGE | {"params/nonzero": -1}],
        [STAGE | {"checkpoint": "../a"}],
        [STAGE | {"checkpoint": "/a"}],
    ],
)
def test_what_is_no_list_of_stages_in_its_own_folder_is_refused(tmp_path: Path, notes: Any) -> None:
    (tmp_path / "frontier.json").write_text(json.dumps(notes))
    with pytest.raises(ValueError, match="must hold a list of stages"):
        read_path(tmp_path)
