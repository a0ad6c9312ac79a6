"""Files: whatever moment is the last one of a process, there is a whole file or folder."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import Task, fit

from l1prune import FeaturePath, PathCheckpoint, RunRecord
from l1prune.weights.files import replace


def write(part: Path, text: str, folder: bool) -> None:
    shutil.rmtree(part, ignore_errors=True)
    if folder:
        part.mkdir()
    ((part / "shard") if folder else part).write_text(text)


def read(home: Path, folder: bool) -> str | None:
    """What is there, under its name or, of a folder, under that of the one before."""
    kept = (home / "whole", home / "whole.old")
    found = next((path for path in kept if path.exists()), None)
    return found and ((found / "shard") if folder else found).read_text()


def die_at(patch: pytest.MonkeyPatch, moment: int) -> None:
    """Let the process be killed before the so-manieth thing that it does to the disk."""
    left = [moment]

    def fatal(function: Any) -> Any:
        def wrapper(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return function(*args, **options)

        return wrapper

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (shutil, "rmtree")):
        patch.setattr(owner, name, fatal(getattr(owner, name)))


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("moment", range(1, 9))
def test_killed_at_any_moment_it_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool, moment: int
) -> None:
    write(tmp_path / "part", before := "zero", folder)
    replace(tmp_path / "part", tmp_path / "whole")
    for text in ("one", "two", "three"):  # the second and third time over what a crash has left
        write(tmp_path / "part", text, folder)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            die_at(patch, moment)
            replace(tmp_path / "part", tmp_path / "whole")
        after = read(tmp_path, folder)
        assert after in (before, text)
        before = after


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_nothing_else_is_left_behind(tmp_path: Path, folder: bool) -> None:
    for text in ("one", "two"):
        write(tmp_path / "part", text, folder)
        replace(tmp_path / "part", tmp_path / "whole")
        assert read(tmp_path, folder) == text
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_it_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, put = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (done.append("named"), put(*paths)))
    (tmp_path / "part").write_text("one")
    replace(tmp_path / "part", tmp_path / "whole")
    assert done == ["sync", "named", "sync"]  # the file, and in the end the folder that names it


@pytest.mark.parametrize("below", ["", "deeper/still"])
@pytest.mark.parametrize("writer", [FeaturePath, PathCheckpoint, RunRecord])
def test_a_folder_that_is_a_file_is_refused_before_training(
    tmp_path: Path, writer: Any, below: str
) -> None:
    file = tmp_path / "notes"
    file.write_text("mine", encoding="utf-8")
    task = Task()
    before = task.net[0].weight.clone()
    expected = rf"{writer.__name__}\(folder=.*notes is a file; give a folder"
    with pytest.raises(ValueError, match=expected):
        fit(task, writer(folder=file / below))
    assert torch.equal(task.net[0].weight, before) and file.read_text(encoding="utf-8") == "mine"
