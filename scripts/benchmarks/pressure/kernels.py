"""Kernels: the passes over weights by themselves, over reading and writing them once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, Work, allocated, always, over, row_of, take_turns
from benchmarks.pressure.tasks import RATE, STRENGTH
from benchmarks.scale import Scale
from l1prune import L1, OptimizerMetric, Pressure, Proximal, find_targets
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.passes import Pass
from l1prune.pressure.optimizers import over_root

BASE = "w.mul_(1.0)"

GOALS = {
    "soft threshold": 1.15,
    "soft threshold in Adam's metric": 2.3,
    "soft threshold in Adam's metric, eager": 12.0,
    "soft threshold in Adam's metric, with masks": 3.0,
    "masks": 1.5,
    "soft threshold in Adam's metric, by torch.compile": 2.5,
}


def passes(scale: Scale) -> Iterator[Row]:
    """Each pass as a step makes it, over reading and writing the same weights once."""
    torch.manual_seed(0)
    count = 10_000 if scale.quick else 25_000_000
    model = nn.Linear(count, 1, bias=False, device=scale.device)
    w = model.weight
    w.grad = torch.randn_like(w)
    names = iter(GOALS)
    plain, adam, eager, both = (Idle([w], lr=RATE) for _ in range(4))
    held, mask = Dispatch(), torch.rand_like(w) > 0.95
    _press(plain, model, Proximal())
    _press(adam, model)
    _press(eager, model).dispatch = Dispatch([Eager()])
    _press(both, model, masks={"weight": mask})
    for one in (adam, eager, both):
        one.state[w] = _state_of_adam(w)
    compiled, obstacle = _compiled(adam, scale)
    found: tuple[Work | None, ...] = (
        plain.step,
        adam.step,
        eager.step,
        both.step,
        lambda: held.run([Pass(w, mask=mask)]),
        compiled,
    )
    works = {BASE: lambda: w.mul_(1.0), **dict(zip(names, found, strict=True))}
    seconds = _race({work: run for work, run in works.items() if run is not None}, scale)
    for work, goal in GOALS.items():
        title = f"{work}, over {BASE}, {count:,} weights"
        if work in seconds:
            yield row_of(title, "×", goal, over(seconds, work, BASE))
        else:
            yield Row(title, "×", goal, None, note=obstacle)
    yield _over_autograd(w, plain.step, scale)
    yield _allocated(scale, count)


class Idle(torch.optim.Adam):
    """An Adam that leaves its weights alone: of a step the hooks remain, and so the pressure."""

    def step(self, closure: None = None) -> None:
        return


def _press(
    optimizer: Idle,
    model: nn.Module,
    form: Proximal | None = None,
    masks: dict[str, Tensor] | None = None,
) -> Pressure:
    metric = Proximal(OptimizerMetric()) if form is None else form
    return Pressure(optimizer, find_targets(model), L1(), STRENGTH, metric, masks)


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


def _over_autograd(w: nn.Parameter, plain: Work, scale: Scale) -> Row:
    def autograd() -> None:
        with torch.enable_grad():
            (STRENGTH * w.abs().sum()).backward()

    seconds = _race({"pass": plain, "autograd": autograd}, scale)
    ratios = over(seconds, "pass", "autograd")
    return row_of("soft threshold, over autograd through λ·Σ|w|", "×", 1 / 20, ratios)


@torch.no_grad()
def _race(works: dict[str, Work], scale: Scale) -> dict[str, list[float]]:
    contenders = {name: always(work) for name, work in works.items()}
    return take_turns(contenders, scale.device, scale.rounds)


def _allocated(scale: Scale, count: int) -> Row:
    """What a step under plain pressure allocates: this SGD by itself allocates nothing."""
    model = nn.Linear(count, 1, bias=False, device=scale.device)
    model.weight.grad = torch.zeros_like(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, foreach=False)

    Pressure(optimizer, find_targets(model), L1(), STRENGTH, Proximal())
    optimizer.step()
    most, _ = allocated(optimizer.step, scale.device)
    return Row("memory that a soft threshold allocates", "B/weight", 0.0, round(most / count, 3))
