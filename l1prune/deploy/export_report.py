"""The report on a network that was exported: how large it is, and how near to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from l1prune.deploy.programs import Agreement
from l1prune.words import quantity, some_of


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it compares with the model.

    Attributes:
        nbytes: of the file.
        dense_nbytes: of the model's parameters and buffers in memory.
        agreement: on how many random inputs both were run, and how far the outputs are from each
            other.
        fixed: why the file takes no other batch than the example's; None if it takes every one.
        sparse: the tensors of which only what is not zero is stored.
        stayed: those that would be smaller so, but are dense, with the reason.
        signed_zeros: how many weights are −0.0, which is not left out.
    """

    nbytes: int
    dense_nbytes: int
    agreement: Agreement
    fixed: str | None
    sparse: Sequence[str] = ()
    stayed: Mapping[str, str] = field(default_factory=dict)
    signed_zeros: int = 0

    def __str__(self) -> str:
        agreement = self.agreement
        lines = [
            f"{self.nbytes:,} bytes for {self.dense_nbytes:,}; largest difference "
            f"{agreement.absolute:.1e}, relative {agreement.relative:.1e}, on "
            f"{quantity(agreement.inputs, 'input')}"
        ]
        if self.sparse:
            how_many = quantity(len(self.sparse), "tensor")
            lines.append(f"  {how_many} stored sparse: {some_of(self.sparse, 3)}")
        lines += [f"  stored dense: {name}, {reason}" for name, reason in self.stayed.items()]
        lines += [f"  no batch of {n}: {why}" for n, why in agreement.refused.items()]
        if self.signed_zeros:
            lines.append(
                f"  {self.signed_zeros:,} weights are −0.0 and are kept as such: after "
                "`weight.add_(0.0)` the file is smaller"
            )
        if self.fixed is not None:
            lines.append(f"  no batch but the example's: {self.fixed}")
        return "\n".join(lines)
