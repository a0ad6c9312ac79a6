"""Pretrained: the weights that a module begins with, from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.deploy.storage import load_sparse

PREFIX = "network."
"""Where a module may have its plain network, of which a run leaves the weights."""
SHOWN = 4


def load_pretrained_(module: nn.Module, file: str | Path) -> None:
    """Give a module the weights in a file, in place.

    Args:
        module: as it was made.
        file: safetensors, dense or sparse; or a checkpoint of Lightning or torch, from which
            nothing but tensors is read. Its names may have `network.` before them, or lack it.

    Raises:
        OSError: there is no such file.
        ValueError: it is none of these, or of another module: what is missing, what is too much
            and what has another shape is named.

    >>> import tempfile
    >>> from safetensors.torch import save_file
    >>> trained, model = nn.Linear(2, 1), nn.ModuleDict({"network": nn.Linear(2, 1)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file(trained.state_dict(), f"{folder}/model.safetensors")
    ...     load_pretrained_(model, f"{folder}/model.safetensors")
    >>> torch.equal(model["network"].weight, trained.weight)
    True
    """
    state = read_weights(Path(file))
    own = {name: w for name, w in module.state_dict().items() if isinstance(w, Tensor)}
    found = max(_spellings(state), key=lambda one: len(one.keys() & own.keys()))
    if wrong := _differences(own, found):
        raise ValueError(f"model.pretrained={file} is of another module: {'; '.join(wrong)}")
    module.load_state_dict(found, strict=False)  # what is no tensor stays as the module made it


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights in a file, by name.

    Raises:
        OSError: there is no such file.
        ValueError: it is neither safetensors nor a checkpoint.
    """
    if not file.is_file():
        raise FileNotFoundError(f"model.pretrained={file}: no such file")
    if file.suffix == ".safetensors":
        return load_sparse(file)
    try:
        tree = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many for a file that is something else
        raise ValueError(
            f"model.pretrained={file}: neither safetensors nor a checkpoint of tensors alone: "
            f"{str(error).splitlines()[0]}"
        ) from error
    state = tree.get("state_dict", tree) if isinstance(tree, Mapping) else {}
    weights = {str(name): w for name, w in state.items() if isinstance(w, Tensor)}
    if not weights:
        raise ValueError(f"model.pretrained={file}: it has no weights by name")
    return weights


def _spellings(state: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    yield dict(state)
    yield {PREFIX + name: weight for name, weight in state.items()}
    yield {name.removeprefix(PREFIX): weight for name, weight in state.items()}


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{name} is {_shape(given[name])} there and {_shape(own[name])} here"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    return [
        f"{what} {_some(names)}"
        for what, names in (
            ("it lacks", own.keys() - given.keys()),
            ("the module has no", given.keys() - own.keys()),
            ("shapes differ:", shapes),
        )
        if names
    ]


def _some(names: Iterable[str]) -> str:
    parts = sorted(names)
    return ", ".join(parts[:SHOWN]) + ", …" * (len(parts) > SHOWN)


def _shape(weight: Any) -> str:
    return "×".join(map(str, weight.shape)) or "a number"
