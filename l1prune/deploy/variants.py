"""Variants: a network in the forms in which it can be deployed, each a file that is read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from l1prune.deploy.encodings import Encoding, Exact, Half, RowInt8
from l1prune.deploy.execution import sparse
from l1prune.deploy.export import export_onnx, export_program
from l1prune.deploy.graph import quiet
from l1prune.deploy.inputs import Arguments, example_of, in_batches
from l1prune.deploy.latency import BATCHES, Latency, latencies
from l1prune.deploy.loading import load_compact
from l1prune.deploy.macs import macs
from l1prune.deploy.programs import Agreement, agreement
from l1prune.deploy.sessions import Session
from l1prune.deploy.states import plain, state_of
from l1prune.deploy.storage import load_sparse, save_sparse
from l1prune.weights.files import write_whole

Run = Callable[..., Any]
"""What is called as the network is."""


@dataclass(frozen=True)
class Form:
    """A way to keep a network in a file, and to run what is in it.

    Attributes:
        name: for people, behind that of the network.
        suffix: of the file, likewise.
        write: a network and an example of its inputs → the file.
        read: the file, what makes the network in full size, untrained, and an example of its inputs
            → what runs it.
    """

    name: str
    suffix: str
    write: Callable[[nn.Module, Arguments, Path], object]
    read: Callable[[Path, Callable[[], nn.Module], Arguments], Run]


@dataclass(frozen=True, eq=False)
class Variant:
    """A network in one of its forms, read from its file.

    Attributes:
        name: of the form.
        file: where it is.
        network: what was written.
        run: what was read, called as the network is.
    """

    name: str
    file: Path
    network: nn.Module
    run: Run


def read_weights(file: Path, fresh: Callable[[], nn.Module], call: Arguments) -> nn.Module:
    """A network filled from a file of weights, whatever their encoding.

    Raises:
        ValueError: the file is broken, or of another network.
    """
    return filled(fresh(), file, call)


def filled(network: nn.Module, file: Path, call: Arguments | None = None) -> nn.Module:
    """A network with the weights in a file, in eval mode; smaller if they are.

    Args:
        network: in full size; it is changed in place.
        file: of safetensors, dense or sparse.
        call: an example of its inputs, which tells what shapes may not.

    Raises:
        ValueError: the file is broken, or of another network.
        OSError: it is not there.
    """
    state = load_sparse(file)
    own = network.state_dict().keys()
    for names, what in (
        (own - state.keys(), "it lacks"),
        (state.keys() - own, "the network has no"),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + ", …" * (len(names) > 3)
            raise ValueError(f"{file} is of another network: {what} {some}")
    try:
        try:
            return load_compact(network, state).eval()
        except ValueError:
            if call is None:
                raise
            # With an example it takes as long as making it compact, and few need that.
            return load_compact(network, state, example_of(call)).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file} is of another network: {error}") from error


def _write_weights(network: nn.Module, call: Arguments, file: Path) -> None:
    state = {name: plain(tensor).clone() for name, tensor in state_of(network).items()}
    write_whole(file, lambda part: part.write_bytes(save(state)))


def _encoded(values: Encoding) -> Callable[[nn.Module, Arguments, Path], object]:
    return lambda network, call, file: save_sparse(network, file, values)


def _write_onnx(network: nn.Module, call: Arguments, file: Path) -> None:
    export_onnx(network, example_of(call), file)


def _write_program(network: nn.Module, call: Arguments, file: Path) -> None:
    export_program(network, example_of(call), file)


def _read_sparse(file: Path, fresh: Callable[[], nn.Module], call: Arguments) -> Run:
    network = read_weights(file, fresh, call)
    return sparse(network, example_of(call), batches=BATCHES).model


def _read_program(file: Path, fresh: Callable[[], nn.Module], call: Arguments) -> Run:
    with quiet():
        return torch.export.load(file).module()


def _read_onnx(file: Path, fresh: Callable[[], nn.Module], call: Arguments) -> Run:
    return Session(file)


ONNX = Form(", onnxruntime", ".onnx", _write_onnx, _read_onnx)

FORMS: Sequence[Form] = (
    Form("", ".safetensors", _write_weights, read_weights),
    Form(", sparse file", "-exact.safetensors", _encoded(Exact()), read_weights),
    Form(", float16", "-half.safetensors", _encoded(Half()), read_weights),
    Form(", int8", "-int8.safetensors", _encoded(RowInt8()), read_weights),
    Form(", sparse execution", "-exact.safetensors", _encoded(Exact()), _read_sparse),
    Form(", torch.export", ".pt2", _write_program, _read_program),
    ONNX,
)
"""All forms of a network without its dead units. One more is one more line."""


@dataclass(frozen=True, eq=False)
class Maker:
    """Writes networks into a folder, in one form after the other, and reads them again.

    Attributes:
        folder: where the files go.
        call: an example of the networks' inputs.
        fresh: makes the network in full size, untrained.
        missing: the forms that there are not, by the reason.
    """

    folder: Path
    call: Arguments
    fresh: Callable[[], nn.Module]
    missing: dict[str, list[str]] = field(default_factory=dict)

    def made(self, name: str, network: nn.Module, forms: Sequence[Form]) -> list[Variant]:
        """The variants of a network, in eval mode, in those of the forms that it has."""
        found = []
        for form in forms:
            file = self.folder / f"{name}{form.suffix}"
            try:
                form.write(network, self.call, file)
                run = form.read(file, self.fresh, self.call)
            except (ImportError, RuntimeError, ValueError) as error:
                self.missing.setdefault(str(error), []).append(f"{name}{form.name}")
            else:
                found.append(Variant(f"{name}{form.name}", file, network, run))
        return found


def compared(model: nn.Module, run: Run, call: Arguments) -> Agreement:
    """How far a variant is from the original, on random inputs in batches of several sizes."""

    def answers(one: Arguments) -> list[Tensor]:
        args, kwargs = one
        with torch.no_grad():
            leaves = tree_leaves(run(*args, **kwargs))
        return [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

    return agreement(model, answers, call, free=True)


def timed(
    variants: Sequence[Variant], call: Arguments, batches: Sequence[int]
) -> dict[int, Mapping[str, Latency]]:
    """The latencies of variants side by side, the first being the original, by size of the batch.

    Those that do not take a batch of some size have none for it.
    """
    found: dict[int, Mapping[str, Latency]] = {}
    for size in batches:
        args, kwargs = in_batches(call, size)
        calls: dict[str, Callable[[], object]] = {}
        with torch.no_grad():
            for variant in variants:
                run = variant.run
                try:
                    run(*args, **kwargs)
                except Exception:
                    continue  # not in batches of this size
                calls[variant.name] = partial(run, *args, **kwargs)
            if variants[0].name in calls:
                found[size] = latencies(calls)
    return found


def counted(network: nn.Module, call: Arguments) -> tuple[int, int]:
    """The parameters of a network, and its multiply-accumulates for one example."""
    return sum(w.numel() for w in network.parameters()), macs(network, example_of(call))
