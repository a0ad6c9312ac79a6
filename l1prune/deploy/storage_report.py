"""The report on a file of weights: how large it is, as what each tensor is in it, what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l1prune.deploy.encodings import Change
from l1prune.deploy.index import Entry
from l1prune.weights.table import aligned


@dataclass(frozen=True)
class StorageReport:
    """What `save_sparse` wrote.

    Attributes:
        entries: how each tensor is stored, tied ones once.
        changes: by name, how far the values that come back are from those that were given.
        signed_zeros: how many weights are −0.0, kept as such.
        nbytes: of the file.
        dense_nbytes: of the tensors in memory, tied ones once; a dense file has a header too.
    """

    entries: tuple[Entry, ...]
    changes: Mapping[str, Change]
    signed_zeros: int
    nbytes: int
    dense_nbytes: int

    @property
    def compression(self) -> float:
        """How many times smaller the file is than the tensors."""
        return self.dense_nbytes / self.nbytes

    def __str__(self) -> str:
        """A table a person can read."""
        rows: list[tuple[str, ...]] = [
            ("tensor", "shape", "stored as", "values", "max. change", "relative")
        ]
        rows += [self._row(entry) for entry in self.entries]
        lines = aligned(rows, left=3)
        lines.insert(1, "─" * max(map(len, lines)))
        lines.append(
            f"{self.nbytes:,} bytes for {self.dense_nbytes:,}: {self.compression:.1f}× smaller"
        )
        if self.signed_zeros:
            lines.append(
                f"{self.signed_zeros:,} weights are −0.0 and are kept as such: with "
                "values=PlainZeros() the file is smaller"
            )
        return "\n".join(lines)

    def _row(self, entry: Entry) -> tuple[str, ...]:
        change = self.changes[entry.name]
        return (
            entry.name,
            "×".join(map(str, entry.shape)),
            f"{entry.stored} {entry.layout}",
            f"{entry.kept:,}",
            f"{change.absolute:.1e}" if change.absolute else "none",
            f"{change.relative:.1e}" if change.relative else "none",
        )
