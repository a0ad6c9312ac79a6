"""The compiled library: made once, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from l1prune.weights import library as rooms
from l1prune.weights.library import CACHE, HEADER, cache_folder, library
from l1prune.weights.selection import SOURCE

COMPILER = any(map(shutil.which, ("cc", "gcc", "clang")))


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code is kept; nothing is there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE, str(folder))
    return folder


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
def test_it_is_compiled_once_and_found_the_next_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library(SOURCE) is not None
    (file,) = cache.iterdir()
    library.cache_clear()
    monkeypatch.setattr(rooms, "_compile", lambda *_: pytest.fail("it is there"))
    assert library(SOURCE) is not None
    assert [*cache.iterdir()] == [file]


def test_without_a_compiler_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert library(SOURCE) is None


def test_a_compiler_that_fails_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    assert library(SOURCE) is None
    assert not [*cache.iterdir()]


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
def test_where_nothing_can_be_kept_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "cache"))
    assert library(SOURCE) is None


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv(CACHE)
    assert cache_folder().name == "l1prune"


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
def test_a_file_that_is_torn_is_not_loaded_but_made_anew(cache: Path) -> None:
    assert library(SOURCE) is not None
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    library.cache_clear()
    file.unlink()  # the one that is loaded stays as it is
    file.write_bytes(whole[: len(whole) // 2])
    assert library(SOURCE) is not None
    assert file.read_bytes() == whole


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
def test_what_all_files_begin_with_is_of_the_key(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library(SOURCE) is not None
    library.cache_clear()
    changed = tmp_path / HEADER.name
    changed.write_text(f"{HEADER.read_text()}/* another one */\n")
    monkeypatch.setattr(rooms, "HEADER", changed)
    assert library(SOURCE) is not None
    assert len([*cache.iterdir()]) == 2
