"""Widths: the dimensions of parameters that get shorter together, as of a layer and the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.deploy.liveness import Liveness


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
        names = [name for name, _ in self.dims]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{names[0]}{more}"


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
    couplings, units = liveness.couplings, liveness.scene.units
    found: dict[str, Counter[str]] = {}
    counted = {unit for part in refused for unit in part.units.tolist()}
    for name, dim in units.starts:
        mine = units.of(name, dim)
        for unit in mine[(liveness.idle & ~gone)[mine]].tolist():
            root = int(couplings.root[unit])
            if root in counted:
                continue
            counted.add(root)
            fixed = bool(couplings.fixed[unit])
            reason = couplings.reason(unit) if fixed else "needed by what stays"
            found.setdefault(name, Counter())[reason] += 1
    return found
