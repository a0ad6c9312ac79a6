"""Whoever wrote the files of a run, reading them ends soon, in a value or in a sentence."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from l1prune.runs.files import (
    DOCUMENT,
    NODES,
    TABLE,
    check_size,
    find,
    is_own_folder,
    read_bytes,
    read_end,
    read_json,
    read_rows,
    read_yaml,
)


def rows(file: Path) -> list[list[str]]:
    return list(read_rows(file))


READERS: tuple[Callable[[Path], Any], ...] = (read_bytes, read_json, read_yaml, rows)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "file"


@pytest.fixture
def soon() -> Iterator[None]:
    """The test takes little time and memory, whatever the file would become."""
    begun = time.monotonic()
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 * TABLE
    assert time.monotonic() - begun < 20


def bomb(levels: int, opening: str, closing: str, item: str) -> str:
    """Each level holds the one before ten times: 10^levels values in some hundred bytes."""
    lines = [f"a0: &a0 {opening}{closing}"]
    for level in range(1, levels):
        inside = ", ".join(item.format(k=k, before=level - 1) for k in range(10))
        lines.append(f"a{level}: &a{level} {opening}{inside}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (read_json, "[" * 100_000 + "]" * 100_000, "deep"),
        (read_json, "[" * 40 + "]" * 40, "deep"),
        (read_json, '{"a": 1' + "0" * 400 + "}", "401 digits"),
        (read_json, '{"a": -9223372036854775809}', "64 bits"),
        (read_json, json.dumps([0] * NODES), "more than 10,000 values"),
        (read_json, json.dumps({"n" * 300: 1}), "name of 300 characters"),
        (read_json, "", "JSON"),
        (read_json, " " * (DOCUMENT + 1), "larger than"),
        (read_yaml, bomb(9, "{", "}", "k{k}: *a{before}"), "more than 10,000 values"),
        (read_yaml, bomb(10, "[", "]", "*a{before}"), "more than 10,000 values"),
        (read_yaml, "a: &a\n  b: *a\n", "refers to what contains it"),
        (read_yaml, "[" * 500_000, "deep"),
        (read_yaml, "{a: " * 200_000, "deep"),
        (read_yaml, "- " * 200_000, "deep"),
        (read_yaml, "a: 0x" + "f" * 5_000, "digits"),
        (read_yaml, "a: " + "1:1:" * 100_000 + "1", "digits"),
        (read_yaml, "a: " + "1:1:" * 100_000 + "1.5", "YAML"),
        (read_yaml, "!!int ''", "YAML"),
        (read_yaml, "!!bool x", "YAML"),
        (read_yaml, "!!timestamp x", "YAML"),
        (read_yaml, "!!python/object/apply:os.getpid []", "python/object"),
        (read_yaml, "? [a]\n: b", "unhashable"),
        (rows, "a,b\n1\n", "row of 1 cells below a header of 2"),
        (rows, "a\n" + "x" * 200_000, "field limit"),
        (rows, "," * 20_000, "cells"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_what_no_run_leaves_is_refused_in_a_sentence(
    file: Path, soon: None, read: Callable[[Path], Any], text: str, complaint: str
) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("read", [*READERS, read_end])
def test_only_regular_files_are_opened(
    tmp_path: Path, soon: None, read: Callable[[Path], Any]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "linked pipe").symlink_to("pipe")
    for name in ("pipe", "zero", "linked pipe", "."):
        with pytest.raises(ValueError, match="not a regular file"):
            read(tmp_path / name)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "nothing", "pipe/below"):
        with pytest.raises(OSError):
            read(tmp_path / name)
    (tmp_path / "linked file").symlink_to("file")
    (tmp_path / "file").write_text("1")
    assert read(tmp_path / "linked file") in (b"1", 1, [["1"]], "1")


@given(data=st.binary())
def test_any_bytes_are_a_value_or_a_sentence(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    for read in READERS:
        try:
            read(file)
        except ValueError as error:
            assert str(error).startswith(f"{file}: not valid ")
    assert read_end(file) == data.decode(errors="replace")


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
trees = st.recursive(
    plain | st.floats(allow_nan=False),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=20), below),
    max_leaves=20,
)


@given(tree=trees)
def test_what_was_written_is_read(file: Path, tree: Any) -> None:
    file.write_text(json.dumps(tree))
    assert read_json(file) == tree
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert read_yaml(file) == tree
    check_size(tree)


def test_an_alias_is_what_it_stands_for(file: Path) -> None:
    shape = [1, 8, 8]
    settings = {"data": {"shape": shape}, "model": {"shape": shape, "names": ["a", "b"]}}
    file.write_text(text := yaml.safe_dump(settings))
    assert "*id001" in text
    assert read_yaml(file) == settings


def test_the_end_of_a_large_file_is_read_alone(file: Path, soon: None) -> None:
    with file.open("wb") as large:
        large.seek(10 * TABLE)
        large.write(b"caf\xe9")
    assert read_end(file, 4) == "caf\ufffd"


def test_files_are_found_whatever_else_is_there(tmp_path: Path) -> None:
    wanted = [tmp_path / "x", tmp_path / "a" / "x", tmp_path / os.fsdecode(b"b\xff") / "x"]
    for path in wanted:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert find(tmp_path, "x") == sorted(wanted)


def test_files_are_found_deeper_than_python_calls_itself(tmp_path: Path) -> None:
    deep = [tmp_path / ("d/" * depth) for depth in range(1, 1500)]
    for folder in deep:
        folder.mkdir()
    (deep[-1] / "x").touch()
    found = find(tmp_path, "x")
    (deep[-1] / "x").unlink()
    for folder in reversed(deep):  # or pytest would, by calling itself
        folder.rmdir()
    assert found == [deep[-1] / "x"]


def test_a_folder_of_links_and_pipes_is_not_its_own(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "folder"
    for path in (victim, folder, folder / ".hydra"):
        path.mkdir()
    (folder / "file").touch()
    assert is_own_folder(folder)
    (tmp_path / "link").symlink_to(folder)
    assert not is_own_folder(tmp_path / "link")
    for place in (folder / "output.txt", folder / ".hydra" / "config.yaml"):
        for plant in (lambda p: p.symlink_to(victim), os.mkfifo):
            plant(place)
            assert not is_own_folder(folder)
            place.unlink()
