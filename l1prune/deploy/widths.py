"""Widths: the dimensions of parameters that get shorter together, as of a layer and the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.deploy.liveness import Liveness
from l1prune.words import some_of

OTHERS = "whose units other weights use"
"""Why a unit stays although some weights of it are all zero."""


@dataclass(frozen=True, eq=False)
class Width:
    """Dimensions that share units.

    Args:
        dims: names of parameters and their dimensions.
        units: the first of those that go together, each once, ``(units)``.
    """

    dims: tuple[tuple[str, int], ...]
    units: Tensor

    def __str__(self) -> str:
        return some_of([name for name, _ in self.dims], 1)


def widths(liveness: Liveness, among: Tensor) -> list[Width]:
    """The widths in which there are some of these units.

    Args:
        liveness: of the model.
        among: booleans of all units' numbers.
    """
    root, units = liveness.couplings.root, liveness.scene.units
    groups: list[tuple[set[int], list[tuple[str, int]]]] = []
    for name, dim in units.starts:
        mine = units.of(name, dim)
        roots = set(root[mine[among[mine]]].tolist())
        if not roots:
            continue
        shared = [group for group in groups if group[0] & roots]
        groups = [group for group in groups if not group[0] & roots]
        dims = [one for group in shared for one in group[1]]
        groups.append((roots.union(*(group[0] for group in shared)), [*dims, (name, dim)]))
    return [Width(tuple(dims), torch.tensor(sorted(roots))) for roots, dims in groups]


def most(
    parts: Sequence[Width], refusal: Callable[[Sequence[Width]], str | None]
) -> tuple[list[Width], dict[Width, str]]:
    """As many of some widths as are not refused together, and why each other one is.

    Args:
        parts: widths to shorten.
        refusal: why some of them cannot be shortened together; None if they can.
    """
    chosen: list[Width] = []
    refused: dict[Width, str] = {}
    stack = [list(parts)]
    while stack:
        some = stack.pop()
        reason = refusal([*chosen, *some]) if some else None
        if reason is None:
            chosen += some
        elif len(some) == 1:
            refused[some[0]] = reason
        else:
            middle = len(some) // 2
            stack += [some[middle:], some[:middle]]
    return chosen, refused


def dead_but_kept(
    liveness: Liveness, gone: Tensor, refused: Iterable[Width]
) -> dict[str, Counter[str]]:
    """How many units that no output needs stay, by parameter and reason."""
    root, units = liveness.couplings.root, liveness.scene.units
    found: dict[str, Counter[str]] = {}
    counted = {unit for part in refused for unit in part.units.tolist()}
    for name, dim in units.starts:
        mine = units.of(name, dim)
        for unit in mine[(liveness.idle & ~gone)[mine]].tolist():
            if (first := int(root[unit])) in counted:
                continue
            counted.add(first)
            found.setdefault(name, Counter())[_why(liveness, unit, "needed by what stays")] += 1
    return found


def empty_but_kept(
    liveness: Liveness, gone: Tensor, parameters: Iterable[str]
) -> dict[str, Counter[tuple[str, str]]]:
    """How many rows and columns of zeros stay because their units do something: by reason, of what.

    A unit lives on without its weights where others add to what it adds to, as beside a skip
    connection, or read what it reads.
    """
    units, found = liveness.scene.units, dict[str, Counter[tuple[str, str]]]()
    for name, weight in liveness.scene.graph.tensors.items():
        if weight.ndim < 2 or name not in parameters:  # masks of attention are buffers
            continue
        for dim, what in enumerate(("row", "column")):
            empty = (weight == 0).movedim(dim, 0).flatten(1).all(1)
            if (name, dim) not in units.starts:
                whole = units.whole.get(name)
                why = [whole] * int(empty.sum()) if whole else []
            else:
                mine = units.of(name, dim)
                alive = mine[empty & ~(gone | liveness.idle)[mine]]
                why = [_why(liveness, unit, OTHERS) for unit in alive.tolist()]
            for reason, count in Counter(why).items():
                found.setdefault(reason, Counter())[what, name] += count
    return found


def _why(liveness: Liveness, unit: int, otherwise: str) -> str:
    """Why a unit stays: for a reason of its own, or else what is said."""
    fixed = bool(liveness.couplings.fixed[unit])
    return liveness.couplings.reason(unit) if fixed else otherwise
