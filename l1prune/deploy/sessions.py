"""Sessions: ONNX models run by onnxruntime as if they were networks of torch."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l1prune.deploy.graph import first_line, quiet
from l1prune.deploy.inputs import tensors

EXTRA = "pip install 'l1prune[deploy]', with Python 3.11 or newer"


def needed(*modules: str) -> list[Any]:
    """Import what the extra `deploy` brings.

    Raises:
        ImportError: one of them is missing, with what to do about it.

    >>> needed("no_such_module")
    Traceback (most recent call last):
    ImportError: no_such_module is missing: pip install 'l1prune[deploy]', with Python 3.11 or newer
    """
    found = []
    for module in modules:
        try:
            with quiet():  # what they say of each other is nothing that a caller could change
                found.append(importlib.import_module(module))
        except ImportError:
            raise ImportError(f"{module.partition('.')[0]} is missing: {EXTRA}") from None
    return found


class Session:
    """An ONNX model on the CPU, by one thread, called as the network that it was.

    Args:
        model: the file, or what is in it.

    Raises:
        ImportError: onnxruntime is missing.
        ValueError: onnxruntime cannot run it.
    """

    def __init__(self, model: str | Path | bytes) -> None:
        (runtime,) = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters is in the error
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = runtime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a dozen kinds, which share no other base
            raise ValueError(f"onnxruntime cannot run it: {first_line(error)}") from error
        self.names: list[str] = [one.name for one in self._session.get_inputs()]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returned: one tensor, or a tuple of all that there are."""
        outputs = self.outputs(*args, **kwargs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def outputs(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """All tensors that the network returned, in order.

        Raises:
            ValueError: the tensors are not as many as the inputs, or onnxruntime refuses them.
        """
        feed = {
            name: leaf.numpy(force=True)
            for name, leaf in zip(self.names, self._given(args, kwargs), strict=True)
        }
        try:
            return [torch.from_numpy(array) for array in self._session.run(None, feed)]
        except Exception as error:
            raise ValueError(f"onnxruntime cannot run it: {first_line(error)}") from error

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Tensor]:
        """The tensors among the arguments, in the order of the inputs' names."""
        if not kwargs and len(args) == len(self.names) and _all_tensors(args):
            return args  # at once: small networks take no longer than to look for tensors does
        if kwargs.keys() == {*self.names} and _all_tensors(kwargs.values()):
            return [kwargs[name] for name in self.names]
        given = tensors((args, kwargs))
        if len(given) != len(self.names):
            raise ValueError(
                f"the ONNX file takes {len(self.names)} tensors, {', '.join(self.names)}; "
                f"{len(given)} are given"
            )
        return given


def _all_tensors(values: Iterable[Any]) -> bool:
    return all(isinstance(value, Tensor) for value in values)
