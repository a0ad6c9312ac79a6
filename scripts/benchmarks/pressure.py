"""What pressure and masks cost, in time and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Contender, Row, Work, allocated, over, row_of, take_turns
from benchmarks.tasks import RATE, STRENGTH, Task, tasks, torchao
from l1prune import L1, Follow, OptimizerMetric, Pressure, Proximal, Sparsity, find_targets
from l1prune.cuts.masks import cut, hold_
from l1prune.cuts.plans import as_plan
from l1prune.pressure.forms import Form
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.passes import Pass
from l1prune.pressure.optimizers import over_root
from l1prune.training.hooks import Hold
from l1prune.training.strength import Moment

PRECISIONS = {"cpu": ("float32",), "cuda": ("float32", "bf16-mixed")}


@dataclass(frozen=True)
class Scale:
    """How much to measure, and where."""

    device: torch.device
    weights: int = 25_000_000
    rounds: int = 21
    quick: bool = False


def measure(scale: Scale) -> Iterator[Row]:
    """All rows, one by one."""
    yield from prox(scale)
    yield memory(scale)
    for precision in PRECISIONS[scale.device.type]:
        for task in tasks(scale.device, scale.quick):
            yield from steps(task, scale, precision)
    for task in tasks(scale.device, scale.quick):
        yield held(task, scale)


# ---- the proximal map by itself


def prox(scale: Scale) -> Iterator[Row]:
    """The proximal map as a step applies it, over reading and writing the same weights once."""
    torch.manual_seed(0)
    model = nn.Linear(scale.weights, 1, bias=False, device=scale.device)
    w = model.weight
    w.grad = torch.randn_like(w)
    plain, adam = Idle([w], lr=RATE), Idle([w], lr=RATE)
    Pressure(plain, find_targets(model), L1(), STRENGTH, Proximal())
    Pressure(adam, find_targets(model), L1(), STRENGTH, Proximal(OptimizerMetric()))
    eager, both, held = Idle([w], lr=RATE), Idle([w], lr=RATE), Dispatch()
    slow = Pressure(eager, find_targets(model), L1(), STRENGTH, Proximal(OptimizerMetric()))
    slow.dispatch = Dispatch([Eager()])
    mask = torch.rand_like(w) > 0.95
    form = Proximal(OptimizerMetric())
    Pressure(both, find_targets(model), L1(), STRENGTH, form, {"weight": mask})
    for one in (adam, eager, both):
        one.state[w] = _state_of_adam(w)

    def autograd() -> None:
        with torch.enable_grad():
            (STRENGTH * w.abs().sum()).backward()

    base = "w.mul_(1.0)"
    works: dict[str, Work | None] = {
        base: lambda: w.mul_(1.0),
        "plain prox": plain.step,
        "prox in Adam's metric": adam.step,
        "prox in Adam's metric, eager": eager.step,
        "prox in Adam's metric and masks": both.step,
        "masks": lambda: held.run([Pass(w, mask=mask)]),
    }
    compiled = "prox in Adam's metric, compiled"
    works[compiled], obstacle = _compiled(adam, scale)
    seconds = _race({work: run for work, run in works.items() if run is not None}, scale)
    for work, goal in zip(list(works)[1:], (1.15, 2.3, 12.0, 3.0, 1.5, 2.5), strict=True):
        title = f"{work}, over {base}, {scale.weights:,} weights"
        if work in seconds:
            yield row_of(title, "×", goal, over(seconds, work, base))
        else:
            yield Row(title, "×", goal, None, note=obstacle)
    seconds = _race({"prox": plain.step, "autograd": autograd}, scale)
    ratios = over(seconds, "prox", "autograd")
    yield row_of("plain prox, over autograd through λ·Σ|w|", "×", 1 / 20, ratios)


class Idle(torch.optim.Adam):
    """An Adam that leaves its weights alone: of a step the hooks remain, and so the pressure."""

    def step(self, closure: None = None) -> None:
        return


def _state_of_adam(w: nn.Parameter) -> dict[str, Any]:
    """The moments of a first step."""
    optimizer = torch.optim.Adam([w], lr=RATE)
    optimizer.step()
    return optimizer.state[w]


def _compiled(optimizer: Idle, scale: Scale) -> tuple[Work | None, str]:
    """Threshold and proximal map as one compiled function; or none, and why."""
    if scale.quick:
        return None, "compiling takes long"
    penalty, (group,) = L1(), optimizer.param_groups
    (w,) = group["params"]
    state, beta, eps = optimizer.state[w], group["betas"][1], group["eps"]

    @torch.compile
    def press(second: Tensor, correction: float, amount: float) -> Tensor:
        return penalty.prox_(w, over_root(amount, second, correction, eps))

    def work() -> Tensor:
        correction = (1 - beta ** float(state["step"])) ** 0.5
        return press(state["exp_avg_sq"], correction, RATE * STRENGTH)

    try:
        with torch.no_grad():
            work()
    except Exception as error:  # compilers fail in many ways
        return None, f"does not compile here: {type(error).__name__}"
    return work, ""


@torch.no_grad()
def _race(works: dict[str, Work], scale: Scale) -> dict[str, list[float]]:
    contenders: dict[str, Contender] = {name: _always(work) for name, work in works.items()}
    return take_turns(contenders, scale.device, scale.rounds)


def _always(work: Work) -> Callable[[], AbstractContextManager[Work]]:
    return lambda: nullcontext(work)


def memory(scale: Scale) -> Row:
    """What a step under plain pressure allocates: this SGD by itself allocates nothing."""
    model = nn.Linear(scale.weights, 1, bias=False, device=scale.device)
    model.weight.grad = torch.zeros_like(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, foreach=False)

    Pressure(optimizer, find_targets(model), L1(), STRENGTH, Proximal())
    optimizer.step()
    most, _ = allocated(optimizer.step, scale.device)
    return Row("extra memory under plain pressure", "B/weight", 0.0, round(most / scale.weights, 3))


# ---- whole training steps


def steps(task: Task, scale: Scale, precision: str) -> Iterator[Row]:
    """Whole training steps with pressure, with masks and with a rival, over one without."""
    if precision == "bf16-mixed":
        task.autocast = lambda: torch.autocast(scale.device.type, torch.bfloat16)
    trimmed = Follow().begin(as_plan(Sparsity(0.95)), L1(), Proximal())
    for progress in (0.0, 0.5):  # as in the middle of a long run
        trimmed.advance(Moment(progress, 10_000, 0.0), task.targets, {})
    kinds = {
        "plain pressure": lambda: pressed(task, Proximal()),
        "trimmed pressure": lambda: pressed(task, trimmed.form(Proximal())),
        "pressure in Adam's metric (the default)": lambda: pressed(
            task, Proximal(OptimizerMetric())
        ),
    }
    rival, masks = torchao(task), cut(task.targets, L1(), Sparsity(0.95))
    where = f"{task.name}, {precision}"
    contenders: dict[str, Contender] = {
        "without": _always(task.step),
        **kinds,
        "holding masks": lambda: holding(task, masks),
    }
    if rival is not None:
        contenders["torchao"] = _always(rival)
    seconds = take_turns(contenders, scale.device, scale.rounds)
    for kind in kinds:
        ratios = over(seconds, kind, "without")
        yield row_of(f"step with {kind}, over one without: {where}", "×", task.goal, ratios)
    ratios = over(seconds, "holding masks", "without")
    yield row_of(f"step while holding masks, over one without: {where}", "×", 1.02, ratios)
    work = f"step with plain pressure, over torchao's PAT: {where}"
    if rival is None:
        yield Row(work, "×", 1.0, None, note="not installed")
    else:
        yield row_of(work, "×", 1.0, over(seconds, "plain pressure", "torchao"))


@contextmanager
def pressed(task: Task, form: Form) -> Iterator[Work]:
    """A training step under pressure."""
    pressure = Pressure(task.optimizer, task.targets, L1(), STRENGTH, form)
    try:
        yield task.step
    finally:
        pressure.remove()


@contextmanager
def holding(task: Task, masks: dict[str, Tensor]) -> Iterator[Work]:
    """A training step of fine-tuning, as the callback takes it."""
    hold_(task.targets, masks)
    hold = Hold(task.optimizer, task.targets, masks)
    try:
        yield task.step
    finally:
        hold.remove()


def held(task: Task, scale: Scale) -> Row:
    """What masks and their holding keep, and what a step allocates for a moment."""
    for target in task.targets:
        target.parameter.grad = torch.zeros_like(target.parameter)
    weights = [target.parameter for target in task.targets]
    optimizer = torch.optim.SGD(weights, lr=RATE, foreach=False)  # allocates nothing by itself

    def begin() -> tuple[Hold, dict[str, Tensor]]:
        masks = cut(task.targets, L1(), Sparsity(0.95))
        return Hold(optimizer, task.targets, masks), masks

    _, kept = allocated(begin, scale.device)
    most, _ = allocated(optimizer.step, scale.device)
    count = sum(w.numel() for w in weights)
    note = f"{most / 2**20:.1f} MiB more in a step"
    work = f"memory while holding masks: {task.name}"
    return Row(work, "B/weight", 1.0, round(kept / count, 3), note=note)
