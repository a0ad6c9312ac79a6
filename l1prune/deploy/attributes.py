"""Attributes: sizes that modules hold as whole numbers, like how many heads an attention has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations, islice

from torch import Tensor, nn

from l1prune.deploy.graph import modules_of
from l1prune.deploy.liveness import Liveness, signals
from l1prune.deploy.twins import survivors

MOST = 32
"""So many combinations of attributes are tried."""


@dataclass(frozen=True)
class Attribute:
    """A whole number of a module, and what it becomes.

    Args:
        module: its path in the model.
        name: of the attribute.
        before: what it was.
        after: what it is in the smaller model.

    >>> str(Attribute("blocks.0.attention", "heads", 6, 4))
    'blocks.0.attention.heads: 6 → 4'
    """

    module: str
    name: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.module}.{self.name}".lstrip(".") + f": {self.before} → {self.after}"


def assign(model: nn.Module, attributes: Iterable[Attribute]) -> None:
    """Set attributes of a model's modules to what they become."""
    for one in attributes:
        setattr(model.get_submodule(one.module), one.name, one.after)


def restore(model: nn.Module, attributes: Iterable[Attribute]) -> None:
    """Set attributes of a model's modules to what they were."""
    for one in attributes:
        setattr(model.get_submodule(one.module), one.name, one.before)


def alternatives(
    model: nn.Module, liveness: Liveness, gone: Tensor
) -> Iterator[tuple[Attribute, ...]]:
    """Attributes that may have to change for a smaller model to do what the original does.

    They are whole numbers that equal a size which some tensor in their module has lost. Those of
    equal name in modules of one class change together. First come those that are few, of inner
    modules before outer ones.

    Args:
        model: the smaller one, its weights already cut.
        liveness: of the original.
        gone: whether each unit is.
    """
    kinds: dict[tuple[type[nn.Module], str], list[Attribute]] = {}
    lost = _lost(liveness, gone)
    for path, module in model.named_modules():
        sizes = lost.get(path, {})
        for name, value in vars(module).items():
            if type(value) is int and len(after := sizes.get(value, set())) == 1:
                kinds.setdefault((type(module), name), []).append(
                    Attribute(path, name, value, *after)
                )
    inner = sorted(kinds.values(), key=lambda some: -max(_depth(one.module) for one in some))
    some = chain.from_iterable(combinations(inner, n) for n in range(1, len(inner) + 1))
    for chosen in islice(some, MOST):
        yield tuple(chain.from_iterable(chosen))


def _depth(path: str) -> int:
    return len(path.split(".")) if path else 0


def _lost(liveness: Liveness, gone: Tensor) -> dict[str, dict[int, set[int]]]:
    """By a module's path, the sizes that tensors in it had, and those that they have without."""
    found: dict[str, dict[int, set[int]]] = {}
    for node, known in liveness.scene.known.items():
        for signal in signals(known):
            smaller = survivors(signal.unit, gone)
            for before, after in zip(signal.unit.shape, smaller or (), strict=False):
                for path, _ in modules_of(node) if before != after else ():
                    found.setdefault(path, {}).setdefault(before, set()).add(after)
    return found
