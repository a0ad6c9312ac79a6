"""Steps: whole training steps with pressure, with masks and with a rival, over one without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Contender, Row, Work, allocated, always, over, row_of, take_turns
from benchmarks.pressure.tasks import RATE, STRENGTH, Maker, Task, torchao
from benchmarks.scale import Scale
from l1prune import L1, Follow, Pressure, Proximal, Pruning, Sparsity
from l1prune.cuts.masks import cut, hold_
from l1prune.cuts.plans import as_plan
from l1prune.pressure.forms import Form
from l1prune.pressure.response import DefaultForm
from l1prune.training.hooks import OptimizerHooks
from l1prune.training.strength import Moment
from l1prune.weights.targets import Target

HOLDING = 1.02

PLAIN, TRIMMED = "plain pressure", "pressure under Follow"
DEFAULT, BOTH = "the default pressure", "the default pressure and masks"


def steps(make: Maker, precision: str, scale: Scale) -> Iterator[Row]:
    """Steps of one network."""
    task = make(scale.device, scale.quick)
    if precision == "bf16-mixed":
        task.autocast = lambda: torch.autocast(scale.device.type, torch.bfloat16)
    rival, masks = torchao(task), cut(task.targets, L1(), Sparsity(0.95))
    kinds: dict[str, Contender] = {
        PLAIN: partial(pressed, task, Proximal()),
        TRIMMED: partial(pressed, task, _trimmed(task)),
        DEFAULT: partial(pressed, task),
        BOTH: partial(pressed, task, masks=masks),
    }
    contenders = {"without": always(task.step), **kinds, "holding": partial(holding, task, masks)}
    if rival is not None:
        contenders["torchao"] = always(rival)
    seconds = take_turns(contenders, scale.device, scale.rounds)
    where = f"{task.name}, {precision}"
    for kind in kinds:
        ratios = over(seconds, kind, "without")
        yield row_of(f"step with {kind}, over one without: {where}", "×", task.goal, ratios)
    ratios = over(seconds, "holding", "without")
    yield row_of(f"step while holding masks, over one without: {where}", "×", HOLDING, ratios)
    for kind in (PLAIN, DEFAULT):
        work = f"step with {kind}, over torchao's PAT: {where}"
        if rival is None:
            yield Row(work, "×", 1.0, None, note="torchao is not installed")
        else:
            yield row_of(work, "×", 1.0, over(seconds, kind, "torchao"))
    if precision == "float32":
        yield held(task, scale)


def _trimmed(task: Task) -> Form:
    """The form of a controller, as in the middle of a long run."""
    trimmed = Follow().begin(as_plan(Sparsity(0.95)), L1(), Proximal())
    for progress in (0.0, 0.5):
        trimmed.advance(Moment(progress, 10_000, 0.0), task.targets, {})
    return trimmed.form(Proximal())


@contextmanager
def pressed(
    task: Task, form: Form | None = None, masks: dict[str, Tensor] | None = None
) -> Iterator[Work]:
    """A training step under pressure, by default in the form of a run's own."""
    default = DefaultForm(limit=Pruning().recipe.begin_strength().limit)
    if masks is not None:
        hold_(task.targets, masks)
    pressure = Pressure(task.optimizer, task.targets, L1(), STRENGTH, form, masks, default)
    try:
        yield task.step
    finally:
        pressure.remove()


@contextmanager
def holding(task: Task, masks: dict[str, Tensor]) -> Iterator[Work]:
    """A training step of fine-tuning, as the callback takes it."""
    hold_(task.targets, masks)
    hooks = hooked(task.optimizer, task.targets, masks)
    try:
        yield task.step
    finally:
        hooks.remove()


def hooked(
    optimizer: torch.optim.Optimizer, targets: Sequence[Target], masks: dict[str, Tensor]
) -> OptimizerHooks:
    """What the callback hangs on an optimizer, once all cuts are made."""
    press = partial(Pressure, targets=targets, strength=0.0, masks=masks)
    return OptimizerHooks([optimizer], targets, press, masks)


def held(task: Task, scale: Scale) -> Row:
    """What masks and their holding keep, and what a step allocates for a moment."""
    for target in task.targets:
        target.parameter.grad = torch.zeros_like(target.parameter)
    weights = [target.parameter for target in task.targets]
    optimizer = torch.optim.SGD(weights, lr=RATE, foreach=False)  # allocates nothing by itself

    def begin() -> tuple[OptimizerHooks, dict[str, Tensor]]:
        masks = cut(task.targets, L1(), Sparsity(0.95))
        return hooked(optimizer, task.targets, masks), masks

    _, kept = allocated(begin, scale.device)
    most, _ = allocated(optimizer.step, scale.device)
    count = sum(w.numel() for w in weights)
    note = f"{most / 2**20:.1f} MiB more in a step"
    work = f"memory while holding masks: {task.name}"
    return Row(work, "B/weight", 1.0, round(kept / count, 3), note=note)
