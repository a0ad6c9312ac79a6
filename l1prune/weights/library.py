"""Library: C, compiled for this machine at first use, and kept for the next time.

A user's cache holds it, by the hash of source, compiler and flags, so that it is compiled once and
never mistaken. Where there is no compiler, none that works, or no place to keep it, there is no
library, and nobody is told: eager torch does the same.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

FLAGS = (
    "-O3",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-pthread",
    "-ffp-contract=off",
    "-fno-math-errno",
)
"""Each operation is rounded by itself: no sum of products in one, nothing of -ffast-math."""

KINDS = (("-fno-trapping-math", "-DCLONES"), ())
"""Tried in turn: for several generations of a processor in one file; what any compiler takes."""

HEADER = Path(__file__).with_suffix(".h")
"""What all files of C begin with."""

SECONDS = 60
"""That a compiler is waited for."""

CACHE = "L1PRUNE_CACHE"
"""The environment variable that says where compiled code is kept."""

SWITCH = "L1PRUNE_KERNEL"
"""The environment variable that, as `eager`, leaves all to torch's own operations."""


def is_eager() -> bool:
    """Whether a person leaves all to torch's own operations."""
    return os.environ.get(SWITCH, "").lower() == "eager"


@functools.cache
def library(source: Path) -> ctypes.CDLL | None:
    """A file of C, compiled; None where it cannot be had. Compiled or loaded once a process."""
    compiler = _compiler()
    if compiler is None:
        return None
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        built = (_built(compiler, kind, folder, source) for kind in KINDS)
        return next((one for one in built if one is not None), None)
    except (OSError, RuntimeError):  # no home, or none to write to
        return None


@functools.cache
def function(source: Path, name: str, result: Any, *arguments: Any) -> Callable[..., Any] | None:
    """A function of such a file; None where it cannot be had.

    Args:
        source: the file of C.
        name: of the function.
        result: its type, as ctypes has it; None: void.
        arguments: theirs.
    """
    compiled = library(source)
    if compiled is None:
        return None
    found = getattr(compiled, name)
    found.restype, found.argtypes = result, arguments
    return cast(Callable[..., Any], found)


def cache_folder() -> Path:
    """Where compiled code is kept: `L1PRUNE_CACHE`, or what is usual on the platform."""
    home = Path.home()
    if given := os.environ.get(CACHE):
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "l1prune"


def _compiler() -> Path | None:
    """The compiler of this system, as make would find it."""
    asked = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    found = next((path for name in asked if name and (path := shutil.which(name))), None)
    return None if found is None else Path(found).resolve()


def _built(compiler: Path, kind: Sequence[str], folder: Path, source: Path) -> ctypes.CDLL | None:
    """The library as this kind of it, from the cache if it is there; None if it does not work."""
    stem = f"{source.stem}-{_key(compiler, kind, source)}"
    command = [os.fspath(compiler), *FLAGS, *kind, f"-I{HEADER.parent}"]
    try:
        known = next((file for file in folder.glob(f"{stem}-*.so") if _is_whole(file)), None)
        return ctypes.CDLL(os.fspath(known or _compile(command, folder, stem, source)))
    except (OSError, subprocess.SubprocessError):
        return None


def _is_whole(file: Path) -> bool:
    """Whether it holds what its name says: a library that is torn would kill the process.

    What others have put there is not run.
    """
    mine = not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()
    return mine and file.stem.rpartition("-")[2] == _digest(file)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


def _key(compiler: Path, kind: Sequence[str], source: Path) -> str:
    about = compiler.stat()
    made_by = (compiler, about.st_size, about.st_mtime_ns, *FLAGS, *kind)
    words = [platform.system(), platform.machine(), *map(str, made_by)]
    code = HEADER.read_bytes() + source.read_bytes()
    return hashlib.sha256(code + "\0".join(words).encode()).hexdigest()[:32]


def _compile(command: Sequence[str], folder: Path, stem: str, source: Path) -> Path:
    """Compile, then rename: of several processes at once each sees a whole file."""
    handle, made = tempfile.mkstemp(".so", f".{stem}-", folder)
    os.close(handle)
    try:
        subprocess.run(
            [*command, "-o", made, os.fspath(source), "-lm"],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        file = folder / f"{stem}-{_digest(Path(made))}.so"
        os.replace(made, file)
        return file
    finally:
        Path(made).unlink(missing_ok=True)
