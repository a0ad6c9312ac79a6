"""Numbers: whole numbers of modules that may count what has gone, which shapes do not tell."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from itertools import takewhile

from torch import Tensor, nn

from l1prune.deploy.shapes import is_known

State = Mapping[str, Tensor]

NEAR = 3
"""So many levels above a tensor, its own module's first, no way of a number to it is asked for."""


def tensors_of(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """All parameters and buffers, under each of their names, and the modules that own them."""
    for path, module in model.named_modules():
        for name, tensor in {**module._parameters, **module._buffers}.items():
            if tensor is not None:
                yield module, f"{path}.{name}".lstrip("."), tensor


def check_numbers(model: nn.Module, state: State) -> None:
    """Refuse to guess where a module has a number that may count what was removed.

    Such a number divides what a dimension was, and what went is a whole number of those parts.

    Args:
        model: of full size.
        state: of the smaller one.

    Raises:
        ValueError: there is such a number; in a sentence that names it.
    """
    tree = _Tree(model, state)
    for owner, name, tensor in tensors_of(model):
        sizes = list(zip(tensor.shape, state.get(name, tensor).shape, strict=True))
        if all(old == new for old, new in sizes):
            continue
        for attribute, value in tree.numbers(name, is_known(owner)):
            for old, new in sizes if (value, value) not in sizes else ():
                if old != new and value < old and not (old % value or (old - new) % (old // value)):
                    raise ValueError(
                        f"state_dict: {name} has {new} of {old} rows or columns, and {attribute}="
                        f"{value} may count what they are part of, which shapes do not tell; give "
                        "example_input, an input as compact was given, and it will be found out"
                    )


class _Tree:
    """The modules of a model by their paths, and which of them have shorter matrices."""

    def __init__(self, model: nn.Module, state: State) -> None:
        self.modules = dict(model.named_modules())
        matrices = [(name, tensor) for _, name, tensor in tensors_of(model) if tensor.ndim > 1]
        self.matrices = [name for name, _ in matrices]
        self.shorter = [n for n, tensor in matrices if state.get(n, tensor).shape != tensor.shape]

    def numbers(self, name: str, is_known: bool) -> Iterator[tuple[str, int]]:
        """The whole numbers that may count the rows or columns of a tensor.

        They are those of the modules around it, of its own if that is not known, and of what else
        is within the modules around it. Ones are left out: they count nothing that can be removed.
        """
        path = name.split(".")
        for depth in range(1 + is_known, 1 + len(path)):
            if depth > NEAR and not self._reaches(path[:-1], depth - 1):
                return
            around = ".".join(path[:-depth])
            inner = [other for other in self._within(around) if self._may_count(other, path)]
            for where in (around, *inner):
                for attribute, value in vars(self.modules[where]).items():
                    if type(value) is int and value > 1:
                        yield f"{where}.{attribute}".lstrip("."), value

    def _reaches(self, path: list[str], levels: int) -> bool:
        """Whether a number so many levels above a module may get there.

        A module gets it as an argument beside its input, or is but a list of others.
        """
        between = [".".join(path[:-up]) for up in range(1, levels)]
        return all(_takes_more(self.modules[one]) for one in between)

    def _within(self, around: str) -> list[str]:
        return [one for one in self.modules if one and one != around and _is_in(one, around)]

    def _may_count(self, other: str, path: list[str]) -> bool:
        """Whether a module beside a tensor may count what it has lost.

        PyTorch's own do not, nor does one whose own matrices are all as they were; and the others
        of a list of blocks are each like the tensor's own.
        """
        if type(self.modules[other]).__module__.startswith("torch.nn."):
            return False
        steps = other.split(".")
        shared = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(steps, path, strict=False))
        )
        if shared == len(steps):
            return False  # around it, or its own
        forks = [self.modules.get(".".join(one[: shared + 1])) for one in (steps, path)]
        if type(forks[0]) is type(forks[1]):
            return False
        return any(_is_in(name, other) for name in self.shorter) or not any(
            _is_in(name, other) for name in self.matrices
        )


def _is_in(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


def _takes_more(module: nn.Module) -> bool:
    """Whether a forward takes more than one argument, or a module has none of its own."""
    if type(module).forward is nn.Module.forward:
        return True
    return len(inspect.signature(type(module).forward).parameters) > 2
