"""Penalties of units that press on the small ones and leave the large ones alone.

`GroupL1` shrinks what matters as it does what does not, and keeps what makes up for that: it ranks
right and chooses too many. These choose.
"""

from __future__ import annotations

from dataclasses import dataclass

from l1prune.penalties.group import GroupPenalty
from l1prune.penalties.nonconvex import MCP, SCAD, LogSum


@dataclass(frozen=True)
class GroupLogSum(GroupPenalty):
    """`LogSum` of units: Σ_g m·ε·log(1 + ρ_g/ε), ρ_g the root mean square of a unit of m weights.

    Units that matter are nearly left alone, where `GroupL1` shrinks them as it does the others:
    what it keeps is what it should, not what makes up for what was shrunk.

    Args:
        dim: The dimension that counts the units, as of `GroupL1`.
        block: Consecutive indices in a unit.
        parts: Matrices stacked along ``dim``.
        eps: The size ε at which the pressure on a unit has halved.

    Raises:
        ValueError: as `GroupL1` and `LogSum`.

    Source: Candès, Wakin and Boyd, 2008, as `LogSum`; concave penalties of the columns of a first
    layer: Luo and Halabi, "Sparse-input neural network using group concave regularization",
    arXiv 2307.00344.

    >>> import torch
    >>> GroupLogSum(dim=1).prox_(torch.tensor([[3.0, 0.1], [3.0, -0.1]]), 0.2)
    tensor([[2.9967, 0.0000],
            [2.9967, 0.0000]])
    """

    eps: float = 0.05

    @property
    def single(self) -> LogSum:
        """Of a unit of one weight."""
        return LogSum(self.eps)


@dataclass(frozen=True)
class GroupMCP(GroupPenalty):
    """`MCP` of units: what is as large as γ is left alone.

    Args:
        dim: The dimension that counts the units, as of `GroupL1`.
        block: Consecutive indices in a unit.
        parts: Matrices stacked along ``dim``.
        gamma: The root mean square γ from which a unit is left alone.

    Raises:
        ValueError: as `GroupL1` and `MCP`.

    Source: Breheny and Huang, "Group descent algorithms for nonconvex penalized linear and logistic
    regression models with grouped predictors", Stat. Comput. 25, 2015.

    >>> import torch
    >>> GroupMCP(dim=1).prox_(torch.tensor([[3.0, 0.1], [3.0, -0.1]]), 0.2)
    tensor([[3., 0.],
            [3., 0.]])
    """

    gamma: float = 0.1

    @property
    def single(self) -> MCP:
        """Of a unit of one weight."""
        return MCP(self.gamma)


@dataclass(frozen=True)
class GroupSCAD(GroupPenalty):
    """`SCAD` of units: all of the pressure up to a size κ, none from a·κ on.

    Args:
        dim: The dimension that counts the units, as of `GroupL1`.
        block: Consecutive indices in a unit.
        parts: Matrices stacked along ``dim``.
        knee: The root mean square κ up to which a unit is pressed as by `GroupL1`.
        a: How many times the knee a unit has to be to be left alone.

    Raises:
        ValueError: as `GroupL1` and `SCAD`.

    Source: Breheny and Huang, 2015, as `GroupMCP`.

    >>> import torch
    >>> GroupSCAD(dim=1).prox_(torch.tensor([[3.0, 0.1], [3.0, -0.1]]), 0.2)
    tensor([[3., 0.],
            [3., 0.]])
    """

    knee: float = 0.05
    a: float = 3.7

    @property
    def single(self) -> SCAD:
        """Of a unit of one weight."""
        return SCAD(self.knee, self.a)
