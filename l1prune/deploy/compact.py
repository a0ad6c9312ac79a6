"""compact: the same function without the units that are dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.deploy.edges import edges
from l1prune.deploy.graph import trace
from l1prune.deploy.inputs import Arguments, arguments, variations
from l1prune.deploy.liveness import Liveness, analyse
from l1prune.deploy.proof import difference, disagreement, outputs, references
from l1prune.deploy.refusals import check_plain
from l1prune.deploy.report import CompactReport, Shortened
from l1prune.deploy.surgery import Operation, operate
from l1prune.deploy.twins import mismatch
from l1prune.deploy.widths import Width, dead_but_kept, most, widths


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
            quantised, sharded, or its forward cannot be exported.
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
    call = arguments(example_input)
    attempt = _Attempt(model, call)
    liveness = attempt.liveness
    nothing = torch.zeros_like(liveness.needed)
    parts = widths(liveness, liveness.gone(nothing))
    chosen, refused = most(parts, attempt.refusal)
    gone = attempt.gone(chosen)
    if chosen != attempt.chosen and attempt.refusal(chosen) is not None:
        raise RuntimeError(
            f"compact: the smaller {type(model).__name__} does not compute the same; this is a "
            "fault of compact, please report it"
        )
    twin = attempt.last.model
    report = CompactReport(
        before=_count(model),
        after=_count(twin),
        shortened=tuple(_shortened(part, liveness, gone) for part in widths(liveness, gone)),
        kept={name: dict(why) for name, why in dead_but_kept(liveness, gone, refused).items()},
        refused={str(part): reason for part, reason in refused.items()},
        difference64=attempt.difference,
        difference=_in_own_type(model, twin, call),
        inputs=len(attempt.expected),
    )
    return Compaction(twin, report)


class _Attempt:
    """One model, and what becomes of it without some of its units."""

    def __init__(self, model: nn.Module, call: Arguments) -> None:
        self.model, self.call = model, call
        self.liveness: Liveness = analyse(trace(model, call))
        self.expected = references(model, call, edges(model, call))
        self.parts = widths(self.liveness, ~self.liveness.needed)
        self.difference = 0.0
        self.chosen: list[Width] | None = None
        self.last: Operation

    def gone(self, chosen: Sequence[Width]) -> Tensor:
        """The units that go when only some widths are shortened."""
        spared = torch.zeros_like(self.liveness.needed)
        for part in self.parts:
            if not any(torch.equal(part.units, one.units) for one in chosen):
                spared[part.units] = True
        return self.liveness.gone(spared)

    def refusal(self, chosen: Sequence[Width]) -> str | None:
        """Why these widths cannot be shortened together; None if they can, and `last` is it."""
        gone, self.chosen = self.gone(chosen), list(chosen)
        self.last = operate(self.model, self.liveness, gone)
        self.difference, reason = disagreement(self.last.model, self.expected)
        if reason is not None:
            return reason
        self.last.round_()
        try:
            twin = trace(self.last.model, self.call)
        except ValueError as error:
            return str(error)
        return mismatch(self.liveness, twin, gone)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _shortened(part: Width, liveness: Liveness, gone: Tensor) -> Shortened:
    name, dim = part.dims[0]
    units = liveness.scene.units.of(name, dim)
    left = int((~gone[units]).sum())
    return Shortened(tuple(one for one, _ in part.dims), len(units), left)


def _in_own_type(model: nn.Module, twin: nn.Module, call: Arguments) -> float:
    """The largest relative difference in the models' own type, on random inputs like the example."""
    worst = 0.0
    for variation, _ in zip(variations(call, []), range(3), strict=False):
        worst = max(worst, difference(outputs(model, variation), outputs(twin, variation)))
    return worst
