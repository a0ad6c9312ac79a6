"""sparse: the same model with layers that compute with the weights that are not zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.checks import check_object
from l1prune.deploy.candidates import Candidate, candidates, recorded
from l1prune.deploy.choices import Choice, Contest, joined
from l1prune.deploy.copies import copied, shell
from l1prune.deploy.execution_report import LayerExecution, SparseReport
from l1prune.deploy.graph import first_line
from l1prune.deploy.inputs import Arguments, arguments, at_batches, tensors
from l1prune.deploy.kernels import KERNELS, Kernel
from l1prune.deploy.proof import (
    TOLERANCE,
    Reference,
    disagreement,
    exact_outputs,
    outputs,
    precision,
    references,
)
from l1prune.deploy.refusals import check_plain
from l1prune.deploy.timing import Paired, Speedup, Timer, clock_of, speedup
from l1prune.words import quantity

SLACK = 0.03  # to look at the size of the input costs a layer that stays dense a quarter of a µs


@dataclass(frozen=True, eq=False)
class SparseExecution:
    """A model that runs sparse, and how.

    Attributes:
        model: a copy in eval mode; layers that run sparse are of other classes.
        report: which do, by which kernel, how fast, and how it was proved.
    """

    model: nn.Module
    report: SparseReport


def sparse(
    model: nn.Module,
    example_input: Any,
    batches: Sequence[int] | None = None,
    kernels: Sequence[Kernel] = KERNELS,
    timer: Timer | None = None,
) -> SparseExecution:
    """Run those layers sparse that are faster so, on this machine, at the batch sizes given.

    For zeros that `compact` cannot remove. Each layer is timed with what it is called with, by each
    kernel that can run it, and stays dense unless one is 5 % faster. Which kernel runs goes by the
    number of rows, in a transformer batch × sequence; between two numbers that were timed the
    nearer one decides. Then the whole model is timed. While it is slower than the dense one at one
    of the batch sizes, by 3 % and in three of four rounds, the half of the layers that gains least
    becomes dense again, there; and all do if it is faster at none. At last both are compared in
    float64.

    The result is for inference: gradients reach inputs, biases and dense layers. Its `state_dict`
    fits itself, not the dense model: keep that one, and call `sparse` on the machine that runs it.

    Args:
        model: in eval mode; it is left as it is.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name.
        batches: the batch sizes to be fast at, as ``(1, 64)``; default: that of the example. Others
            run too, by a choice that was not timed for them.
        kernels: the ways to run a layer that are tried.
        timer: default: on one thread the processor's time, else the time that passes.

    Raises:
        ValueError: the model is in training mode, under masks of `torch.nn.utils.prune` or hooks,
            quantised, sharded or random, or cannot be run; or the example has no such batches.
        RuntimeError: a kernel does not compute the same.

    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).eval()
    >>> _ = nn.init.sparse_(model[0].weight, 0.95)
    >>> execution = sparse(model, torch.ones(1, 64), batches=(1, 16))
    >>> execution.report.left["2"]
    '0 % of its weights are zero, too few'
    >>> torch.allclose(execution.model(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)
    True
    """
    check_plain(model)
    for kernel in kernels:
        check_object("kernels", kernel, ("refusal", "build"), "(Csr(), Bag())")
    call = arguments(example_input)
    calls = at_batches(call, batches)
    proof = _Proof(model, call, calls)
    device = next((tensor.device for tensor in _tensors(model, call)), torch.device("cpu"))
    search = _Search(model, calls, timer or Paired(clock_of(device)))
    search.choose(kernels)
    search.settle()
    return SparseExecution(search.model, search.report(proof))


class _Proof:
    """What a model computes, to compare its sparse form with."""

    def __init__(self, model: nn.Module, call: Arguments, calls: Mapping[int, Arguments]) -> None:
        self.exact: list[Reference] = references(model, call, exact_outputs, [])
        self.usual: list[Reference] = references(model, call, outputs, [])
        for batch, other in calls.items():
            try:
                self.usual.append((other, outputs(shell(model), other)))
            except Exception as error:
                raise ValueError(
                    f"batches: the model cannot be run at batch {batch}: {first_line(error)}"
                ) from error
            self.exact.append((other, exact_outputs(shell(model), other)))
        self.rough = precision(model) ** 0.5

    def differences(self, model: nn.Module) -> tuple[float, float]:
        """The largest relative differences, in float64 and in the weights' type.

        Raises:
            RuntimeError: they are too large.
        """
        exact, fault = disagreement(model, self.exact, exact_outputs, TOLERANCE)
        if fault is None:
            usual, fault = disagreement(model, self.usual, outputs, self.rough)
        if fault is not None:
            raise RuntimeError(
                "sparse: the sparse model is not the same function: "
                f"{fault.removeprefix('without them ')}; one of the kernels is at fault"
            )
        return exact, usual


class _Search:
    """The forms of one model's layers, and which of them are in place."""

    def __init__(self, model: nn.Module, calls: Mapping[int, Arguments], timer: Timer) -> None:
        self.original, self.model = model, copied(model)
        self.calls, self.timer = calls, timer
        self.found: dict[str, Candidate] = {}
        self.left: dict[str, str] = {}
        self.choices: dict[str, dict[int, Choice]] = {}
        self.channels: dict[str, int] = {}
        self.rows: dict[int, dict[str, list[int]]] = {}  # of each layer, by the batch size
        self.speedups: dict[int, float] = {}

    def choose(self, kernels: Sequence[Kernel]) -> None:
        """Time all layers, and put the faster forms in place."""
        self.found, self.left = candidates(self.model, kernels)
        contests = {name: Contest(one, self.timer) for name, one in self.found.items()}
        for batch, call in self.calls.items():
            seen, otherwise = recorded(self._run, self.found, call)
            self.rows[batch] = {name: list(inputs) for name, inputs in seen.items()}
            self.left.update(
                dict.fromkeys(otherwise, "it is called otherwise than with one tensor")
            )
            for name, inputs in seen.items():
                if name not in self.left:
                    contests[name].enter(inputs)
        for name, contest in contests.items():
            if name in self.left:
                continue
            dense = self.found[name].layer
            if any(choice.form is not dense for choice in contest.choices.values()):
                self.choices[name], self.channels[name] = contest.choices, contest.channels
                self._put(name, joined(contest.choices, contest.channels))
            else:
                self.left[name] = _why_dense(contest)

    def settle(self) -> None:
        """Make layers dense again that the model cannot run with, or that make it slower."""
        self._leave_what_fails()
        while self.choices:
            timed = {batch: self._speedup(call) for batch, call in self.calls.items()}
            self.speedups = {batch: times.median for batch, times in timed.items()}
            slower = [batch for batch, times in timed.items() if _is_slower(times)]
            if slower:
                self._relieve(slower[0])
            elif any(times.low > 1 for times in timed.values()):
                return
            else:
                for name in list(self.choices):
                    self._leave(name, "undone: with it the model is no faster")
        self.speedups = {}

    def _relieve(self, batch: int) -> None:
        """Make those layers dense that gain least, at this batch size or, if all are, at any."""
        rows = self.rows[batch]
        gains = {name: _gain(by_rows, rows[name]) for name, by_rows in self.choices.items()}
        names = [name for name, gain in gains.items() if gain]
        if not names:
            gains = {name: _gain(by_rows, by_rows) for name, by_rows in self.choices.items()}
            names, rows = list(gains), {name: list(of) for name, of in self.choices.items()}
        names.sort(key=lambda name: -gains[name])
        for name in names[len(names) // 2 :]:
            layer = self.found[name].layer
            for count in rows[name]:
                self.choices[name][count] = self.choices[name][count].undone(layer)
            if any(choice.form is not layer for choice in self.choices[name].values()):
                self._put(name, joined(self.choices[name], self.channels[name]))
            else:
                self._leave(name, f"undone: with it the model is slower at batch {batch}")

    def report(self, proof: _Proof) -> SparseReport:
        """What to say of the form that is in place, once it is proved to be right."""
        difference64, difference = proof.differences(self.model)
        return SparseReport(
            layers=tuple(
                LayerExecution(
                    name,
                    self.found[name].zeros,
                    {rows: choice.name for rows, choice in sorted(by_rows.items())},
                    {rows: choice.speedup for rows, choice in sorted(by_rows.items())},
                )
                for name, by_rows in self.choices.items()
            ),
            left=self.left,
            speedups=self.speedups,
            difference64=difference64,
            difference=difference,
            inputs=len(proof.exact),
        )

    def _leave_what_fails(self) -> None:
        """A model may read a layer's weight, or whatever else another class lacks."""
        if self._failure() is None:
            return
        forms = {name: self.model.get_submodule(name) for name in self.choices}
        for name in forms:
            self._put(name, self.found[name].layer)
        for name, form in forms.items():
            self._put(name, form)
            if (failure := self._failure()) is not None:
                self._leave(name, f"without the layer itself the model fails: {failure}")

    def _failure(self) -> str | None:
        try:
            for call in self.calls.values():
                self._run(call)
        except Exception as error:
            return first_line(error)
        return None

    def _speedup(self, call: Arguments) -> Speedup:
        args, kwargs = call
        works = [partial(model, *args, **kwargs) for model in (self.original, self.model)]
        with torch.no_grad():  # twice: a wrong verdict costs more here than one on a layer
            twice = self.timer(works), self.timer(works)
        return speedup(*(first + second for first, second in zip(*twice, strict=True)))

    def _run(self, call: Arguments) -> list[Any]:
        return outputs(self.model, call)

    def _leave(self, name: str, reason: str) -> None:
        self._put(name, self.found[name].layer)
        self.left[name] = reason
        del self.choices[name]

    def _put(self, name: str, module: nn.Module) -> None:
        parent, _, last = name.rpartition(".")
        module.eval()
        if last:
            self.model.get_submodule(parent)._modules[last] = module
        else:  # the model is one layer
            self.model = module


def _tensors(model: nn.Module, call: Arguments) -> list[Tensor]:
    return [*model.parameters(), *tensors(call)]


def _why_dense(contest: Contest) -> str:
    if not contest.choices:
        return "; ".join(contest.failures) or "it is not called, whatever may read its weight"
    best = [
        f"{one.speedup:.2f} × at {quantity(rows, 'row')}"
        for rows, one in sorted(contest.choices.items())
    ]
    return f"faster so: sparse it would be {', '.join(best)}"


def _is_slower(times: Speedup) -> bool:
    return times.high < 1 and times.median < 1 - SLACK


def _gain(by_rows: Mapping[int, Choice], some: Iterable[int]) -> float:
    return sum(by_rows[rows].saved for rows in some)
