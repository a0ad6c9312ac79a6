"""Digest: tells a state as it was saved from one that was changed since, by hand or by accident."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

DIGEST = "digest"


def digest(*state: Any) -> str:
    """A short text that another state has not.

    It depends on the plain values in nested mappings and sequences, and on tensors of bytes, such
    as packed masks. Larger ones, like the weights' own figures, are left to the file's checksum.

    Args:
        state: what is saved. A tuple counts as the list that a file may make of it.

    >>> digest({"rounds": 3, "at": (0.5, 1)}) == digest({"at": [0.5, 1], "rounds": 3})
    True
    >>> digest({"rounds": 3}) == digest({"rounds": 2})
    False
    """
    sha = hashlib.sha256()
    for piece in _pieces(state):
        sha.update(piece)
    return sha.hexdigest()[:16]


def note_digest(checkpoint: dict[str, Any], key: str) -> None:
    """Put the digest of a callback's state, at this step, beside that state.

    Args:
        checkpoint: of Lightning, about to be saved.
        key: the callback's `state_key`.
    """
    state = checkpoint["callbacks"][key]
    state[DIGEST] = digest(state, checkpoint["global_step"])


def check_digest(checkpoint: Mapping[str, Any], key: str) -> None:
    """Refuse a checkpoint whose state is not what was saved.

    Args:
        checkpoint: of Lightning; one without a digest is let through.
        key: the callback's `state_key`.

    Raises:
        ValueError: a counter or a mask is another.
    """
    state = dict(checkpoint.get("callbacks", {}).get(key, {}))
    if state.pop(DIGEST, None) not in (None, digest(state, checkpoint["global_step"])):
        raise ValueError(
            "the checkpoint contradicts itself: a counter or a mask of the pruning was changed "
            "after it was saved, or is of another model; resume from a checkpoint as it was saved, "
            "or begin a new run from its weights"
        )


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield f"{key!r}:".encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield b"["
        for one in value:
            yield from _pieces(one)
        yield b"]"
    elif isinstance(value, Tensor):
        if value.dtype == torch.uint8:
            yield value.detach().cpu().contiguous().numpy().tobytes()
    elif value is None or isinstance(value, str | int | float):
        yield f"{value!r},".encode()
