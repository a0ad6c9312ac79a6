"""compact: the same function without the units that are dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.deploy.attributes import Attribute, alternatives, assign, restore
from l1prune.deploy.edges import edges
from l1prune.deploy.graph import trace
from l1prune.deploy.inputs import Arguments, arguments
from l1prune.deploy.liveness import Liveness, analyse
from l1prune.deploy.proof import (
    TOLERANCE,
    disagreement,
    exact_outputs,
    outputs,
    precision,
    references,
    references_at,
)
from l1prune.deploy.refusals import check_plain
from l1prune.deploy.report import CompactReport, Shortened
from l1prune.deploy.surgery import Operation, operate
from l1prune.deploy.twins import mismatch
from l1prune.deploy.widths import Width, dead_but_kept, empty_but_kept, most, widths


@dataclass(frozen=True, eq=False)
class Compaction:
    """A smaller model, and what was done.

    Attributes:
        model: of the same classes, with the same names, in eval mode.
        report: what went, what stayed and why, and how it was proved.
    """

    model: nn.Module
    report: CompactReport


def compact(model: nn.Module, example_input: Any) -> Compaction:
    """Remove the units of a model that no input reaches or no output needs.

    After unstructured pruning many neurons and channels have lost all weights on one side. They
    are found on the model's exported graph and left out of a copy, which computes the same for all
    inputs: what dead units send on is added to the next layer's bias. What cannot be proved
    stays, and the report says why. Then both models are run in float64 on random inputs of several
    shapes. Constants are rounded once, to the type of the weight they are added to.

    Args:
        model: in eval mode; it is left as it is.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name.

    Raises:
        ValueError: the model is in training mode, under masks of `torch.nn.utils.prune` or hooks,
            quantised, sharded, random, or its forward cannot be exported.
        RuntimeError: the smaller model does not compute the same.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    >>> _ = model[0].weight.data[:6].zero_()
    >>> compaction = compact(model, torch.ones(1, 4))
    >>> compaction.model
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    >>> compaction.report.before, compaction.report.after
    (58, 16)
    """
    check_plain(model)
    search = _Search(model, arguments(example_input))
    chosen, refused = most(search.parts, lambda some: search.without(some).verdict.fault)
    found = search.without(chosen)
    if (fault := found.verdict.fault) is not None:
        raise RuntimeError(
            f"compact: the smaller {type(model).__name__} is not the same function: {fault}; "
            "this is a fault of compact, please report it"
        )
    return Compaction(found.model, search.report(found, refused))


@dataclass(frozen=True, eq=False)
class _Smaller:
    """A smaller form of a model, without some units."""

    chosen: Sequence[Width]
    gone: Tensor
    model: nn.Module
    attributes: Sequence[Attribute]
    verdict: _Verdict


@dataclass(frozen=True)
class _Verdict:
    """How far a smaller model is from the original, and what is wrong with it, if anything is."""

    difference64: float
    difference: float
    fault: str | None


class _Search:
    """The smaller forms of one model."""

    def __init__(self, model: nn.Module, call: Arguments) -> None:
        self.model, self.call = model, call
        self.liveness = analyse(trace(model, call))
        self.edges = edges(model, call)
        self.exact = references(model, call, exact_outputs, self.edges)
        self.usual = references(model, call, outputs, None)
        self.parts = widths(self.liveness, ~self.liveness.needed)
        self.last: _Smaller | None = None

    def without(self, chosen: Sequence[Width]) -> _Smaller:
        """The form in which only these widths are shorter, checked."""
        if self.last is None or self.last.chosen != chosen:
            self.last = self._without(list(chosen))
        return self.last

    def _without(self, chosen: Sequence[Width]) -> _Smaller:
        spared = torch.zeros_like(self.liveness.needed)
        for part in self.parts:
            spared[part.units] = part not in chosen
        gone = self.liveness.gone(spared)
        operation = operate(self.model, self.liveness, gone)
        attributes, verdict = self._fitted(operation, gone)
        return _Smaller(chosen, gone, operation.model, attributes, verdict)

    def _fitted(self, operation: Operation, gone: Tensor) -> tuple[tuple[Attribute, ...], _Verdict]:
        """Change as few attributes as it takes for a smaller model to compute the same."""
        first = self._verdict(operation, gone)
        if first.fault is None:
            return (), first
        for attributes in alternatives(operation.model, self.liveness, gone):
            assign(operation.model, attributes)
            verdict = self._verdict(operation, gone)
            if verdict.fault is None:
                return attributes, verdict
            restore(operation.model, attributes)
        return (), first

    def _verdict(self, operation: Operation, gone: Tensor) -> _Verdict:
        """Run a smaller model, as exact and as rounded, and compare its graph; it ends rounded."""
        smaller = operation.model
        operation.unround_()
        exact, fault = disagreement(smaller, self.exact, exact_outputs, TOLERANCE)
        operation.round_()
        if fault is not None:
            return _Verdict(exact, float("nan"), fault)
        rough = precision(self.model) ** 0.5
        usual, fault = disagreement(smaller, self.usual, outputs, rough)
        fault = fault or mismatch(self.liveness, smaller, self.call, gone)
        return _Verdict(exact, usual, fault or self._fault_at_new_edges(operation))

    def _fault_at_new_edges(self, operation: Operation) -> str | None:
        """What differs where only the smaller model goes another way, as one by its own width."""
        new = [sizes for sizes in edges(operation.model, self.call) if sizes not in self.edges]
        expected = references_at(self.model, self.call, exact_outputs, new)
        operation.unround_()
        _, fault = disagreement(operation.model, expected, exact_outputs, TOLERANCE)
        operation.round_()
        return fault

    def report(self, found: _Smaller, refused: Mapping[Width, str]) -> CompactReport:
        """What to say of the form that was found."""
        kept = dead_but_kept(self.liveness, found.gone, refused)
        parameters = dict(self.model.named_parameters())
        empty = empty_but_kept(self.liveness, found.gone, parameters)
        return CompactReport(
            before=_count(self.model),
            after=_count(found.model),
            shortened=tuple(
                _shortened(part, self.liveness, found.gone)
                for part in widths(self.liveness, found.gone)
            ),
            kept={name: dict(reasons) for name, reasons in kept.items()},
            empty={reason: dict(counts) for reason, counts in empty.items()},
            refused={str(part): reason for part, reason in refused.items()},
            attributes=tuple(found.attributes),
            difference64=found.verdict.difference64,
            difference=found.verdict.difference,
            inputs=len(self.exact),
        )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _shortened(part: Width, liveness: Liveness, gone: Tensor) -> Shortened:
    name, dim = part.dims[0]
    units = liveness.scene.units.of(name, dim)
    left = int((~gone[units]).sum())
    return Shortened(tuple(one for one, _ in part.dims), len(units), left)
