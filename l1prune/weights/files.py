"""Files: put in the place of others so that, whatever happens, one of them is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(part: Path, whole: Path) -> None:
    """Put a file, or a folder, in the place of another, so that one of them is always there.

    Args:
        part: what was written; it is brought to the disk first.
        whole: what it becomes. A folder that was there is ``.old`` for the moment between.
    """
    for path in [*part.rglob("*"), part] if part.is_dir() else [part]:
        _to_disk(path)
    old = whole.with_name(f"{whole.name}.old")
    if whole.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        whole.rename(old)
    part.replace(whole)
    _to_disk(whole.parent)
    shutil.rmtree(old, ignore_errors=True)


def check_folder(owner: str, folder: Path) -> None:
    """Refuse a folder that cannot be made, as a file is there, or where one above it would be.

    Args:
        owner: the class whose argument `folder` it is.
        folder: that need not be there yet.

    Raises:
        ValueError: says which file is in the way.

    >>> check_folder("FeaturePath", Path("no/such"))
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if there is not None and not there.is_dir():
        given = f"{owner}(folder={str(folder)!r})"
        raise ValueError(f"{given}: {there} is a file; give a folder, new or old")


def write_whole(whole: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that, whatever happens meanwhile, it is whole or what it was before.

    Args:
        whole: where it is to be.
        write: is given the file to write.
    """
    part = whole.with_name(f"{whole.name}.part")
    write(part)
    replace(part, whole)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and needs no such thing
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
