"""Penalties: how large a weight counts, what it costs, and how one step of pressure shrinks it.

===================  ===================================================  =========================
penalty              cost of one weight (or unit), at unit strength       large weights
===================  ===================================================  =========================
`L1`                 |w|                                                  shrink as the small ones
`L2`                 w²/2                                                 shrink most; no exact zero
`ElasticNet`         a mixture of the two                                 shrink most
`GroupL1`            √|g|·‖w_g‖₂ of a row, column, filter, channel, head  shrink as the small ones
`GroupLogSum`, …     m·p(ρ) of m weights of root mean square ρ            as those of p
`LogSum`             ε·log(1 + |w|/ε)                                     are nearly left alone
`TransformedL1`      a·|w| / (a + |w|)                                    are nearly left alone
`MCP`                |w| − w²/2γ, constant from γ on                      are left alone
`SCAD`               |w| up to κ, constant from a·κ on                    are left alone
===================  ===================================================  =========================

All but `L2` have slope 1 at zero: at equal strength they push equally on a weight about to vanish,
so strengths compare. A penalty is a frozen dataclass without a strength and without a state:
compare it, hash it, pickle it, share it between runs.
"""

from l1prune.penalties.convex import L1, L2, ElasticNet
from l1prune.penalties.group import GroupL1
from l1prune.penalties.group_nonconvex import GroupLogSum, GroupMCP, GroupSCAD
from l1prune.penalties.nonconvex import MCP, SCAD, LogSum, TransformedL1
from l1prune.penalties.penalty import Penalty, is_separable, makes_zeros

__all__ = [
    "L1",
    "L2",
    "MCP",
    "SCAD",
    "ElasticNet",
    "GroupL1",
    "GroupLogSum",
    "GroupMCP",
    "GroupSCAD",
    "LogSum",
    "Penalty",
    "TransformedL1",
    "is_separable",
    "makes_zeros",
]
