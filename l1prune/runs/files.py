"""Files that runs left, read within limits: whoever could write in the folder has written them.

What is no regular file, or larger, deeper or stranger than a run leaves it, is refused in a
sentence, by a ValueError or an OSError, and costs neither time nor memory.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml  # type: ignore[import-untyped]

DOCUMENT = 1 << 20
"""The most bytes of a JSON or YAML file, or of a text; a run leaves some thousand."""
TABLE = 1 << 24
"""The most bytes of a CSV file: a hundred thousand epochs of ten figures."""
NODES, DEPTH, NAME, DIGITS = 10_000, 32, 255, 40
"""The most values in a document, how deep they lie, and the most characters of a name and of a
whole number; what is read of one is below 2^63 besides, as all counts are."""


def find(folder: str | Path, name: str) -> list[Path]:
    """All entries of a name in a folder and those below it; links to folders are not followed.

    What cannot be looked into is passed over.

    >>> find("no such folder", "summary.json")
    []
    """
    found, waiting = [], [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name == name:
                        found.append(Path(entry.path))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return sorted(found)


def read_bytes(file: str | Path, most: int = DOCUMENT) -> bytes:
    """The content of a regular file.

    Args:
        file: its path, or that of a link to it.
        most: bytes that it may have.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is a pipe, a device or a folder, or larger.
    """
    with _opened(file) as content:
        data = content.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{file}: larger than {most:,} bytes, the most that is read of it")
    return data


def read_end(file: str | Path, most: int = DOCUMENT) -> str:
    """The last bytes of a file of any size as text; what is no UTF-8 in it is replaced.

    Raises:
        OSError, ValueError: as in `read_bytes`.
    """
    with _opened(file) as content:
        content.seek(-min(most, content.seek(0, os.SEEK_END)), os.SEEK_END)
        return content.read(most).decode(errors="replace")


def read_json(file: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: as in `read_bytes`.
        ValueError: it is not JSON, or more than a run leaves.
    """
    data = read_bytes(file)
    try:
        tree = json.loads(data, parse_int=lambda digits: int(_check_digits(digits)))
        check_size(tree)
    except RecursionError as error:
        raise _named(file, "JSON", f"nested more than {DEPTH} deep") from error
    except ValueError as error:
        raise _named(file, "JSON", error) from error
    return tree


def read_yaml(file: str | Path) -> Any:
    """What a YAML file holds; what is repeated by an alias counts as often as it appears.

    Raises:
        OSError: as in `read_bytes`.
        ValueError: it is not YAML, or more than a run leaves.
    """
    data = read_bytes(file)
    try:
        _check_events(yaml.parse(data, _Loader))
        tree = yaml.load(data, _Loader)
        check_size(tree)
    # What PyYAML makes of an odd scalar: IndexError of `!!int ""`, KeyError of `!!bool x`, …
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _named(file, "YAML", error) from error
    except yaml.YAMLError as error:
        raise _named(file, "YAML", getattr(error, "problem", None) or error) from error
    return tree


def read_rows(file: str | Path, most: int = TABLE) -> Iterator[list[str]]:
    """The rows of a CSV file, one after the other; all are as long as the first.

    Args:
        file: its path.
        most: bytes that it may have.

    Raises:
        OSError: as in `read_bytes`.
        ValueError: it is no such table, or more than a run leaves.
    """
    # Decoded line by line: only the bytes are ever in memory as a whole.
    lines = io.TextIOWrapper(io.BytesIO(read_bytes(file, most)), encoding="utf-8", newline="")
    width = 0
    try:
        for row in filter(None, csv.reader(lines)):
            width = width or len(row)
            if len(row) != width or width > NODES:
                raise ValueError(f"a row of {len(row):,} cells below a header of {width:,}")
            yield row
    except (ValueError, csv.Error) as error:
        raise _named(file, "CSV", error) from error


def check_size(tree: Any) -> None:
    """Refuse nested values that are more than a run leaves.

    Args:
        tree: mappings, lists and plain values, of which none contains itself.

    Raises:
        ValueError: there are too many, they lie too deep, a name is too long or a number too large.

    >>> check_size({"a": [1, 2.5, "x", None]})
    >>> check_size({"a": 10**30})
    Traceback (most recent call last):
    ValueError: holds a whole number of 100 bits, beyond every count
    """
    level: list[Any] = [tree]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        _check_counts(nodes, depth)
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                _check_names(value)
                below += value.values()
            elif isinstance(value, (list, tuple, set)):
                below += value
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                bits = value.bit_length()
                raise ValueError(f"holds a whole number of {bits} bits, beyond every count")
        level = below


def is_own_folder(folder: Path) -> bool:
    """Whether what is written in a folder stays there: no link, and no pipe or device in it.

    What Hydra writes in `.hydra` is looked at as well.
    """
    if not _is_plain(folder, stat.S_ISDIR):
        return False
    entries = [*folder.iterdir(), *(folder / ".hydra").glob("*")]
    return all(_is_plain(one, stat.S_ISREG) or _is_plain(one, stat.S_ISDIR) for one in entries)


def _is_plain(path: Path, kind: Any) -> bool:
    return bool(kind(path.lstat().st_mode))


def _opened(file: str | Path) -> BinaryIO:
    # Asked before it is opened, which some devices take for a command; and opened without waiting
    # for the other end of what has become a pipe meanwhile.
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise ValueError(f"{file}: not a regular file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(file, flags), "rb")


def _named(file: str | Path, kind: str, error: object) -> ValueError:
    return ValueError(f"{file}: not valid {kind}: {error or type(error).__name__}")


def _check_digits(text: str) -> str:
    """A whole number of few digits; to read a million takes minutes."""
    if len(text) > DIGITS:
        raise ValueError(f"holds a whole number of {len(text):,} digits, beyond every count")
    return text


def _check_counts(nodes: int, depth: int) -> None:
    if nodes > NODES:
        raise ValueError(f"holds more than {NODES:,} values")
    if depth > DEPTH:
        raise ValueError(f"nested more than {DEPTH} deep")


def _check_names(tree: Mapping[Any, Any]) -> None:
    longest = max((len(key) for key in tree if isinstance(key, str)), default=0)
    if longest > NAME:
        raise ValueError(f"holds a name of {longest:,} characters, more than {NAME}")


def _check_events(events: Iterable[Any]) -> None:
    """Refuse a YAML document that would be too much once its aliases are followed.

    Asked while it is parsed: what composes it in C calls itself for each level, without limit.
    """
    sizes: dict[str, int] = {}  # of what has an anchor, once it is complete
    opened: list[tuple[str | None, int]] = []
    nodes = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"*{event.anchor} refers to what contains it, or to nothing")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes |= {anchor: nodes - before} if anchor else {}
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, nodes))
            elif event.anchor:
                sizes[event.anchor] = 1
            nodes += 1
        _check_counts(nodes, len(opened))


# The same as SafeLoader, in C where PyYAML was built so: a thousand runs in seconds, not a minute.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_yaml_int(self, node: Any) -> int:
        _check_digits(node.value)
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
