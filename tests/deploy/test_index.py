"""The index of a sparse file."""

from __future__ import annotations

from dataclasses import replace

from l1prune.deploy.index import Entry, read, written


def test_an_index_is_read_as_it_was_written() -> None:
    entry = Entry("ä\n", "float32", (2, 3), "int8", "mask", 5, 1, True)
    index = {"ä\n": entry, "b": replace(entry, name="b"), "tied": entry}
    assert read(written(index)) == index
