"""Follow: a controller that finds the strength, and presses only what is due to go.

At each look the threshold says which weights it would cut if as much were due as is planned for
now, and those are pressed in full. What will stay is hardly shrunk, so that the pressure can be
strong without biasing it.
Source: Bertsimas, Copenhaver & Mazumder, "The trimmed lasso: sparsity and robustness", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.checks import is_number, is_whole
from l1prune.cuts.masks import Masks, cut
from l1prune.cuts.plans import Plan
from l1prune.cuts.thresholds import Threshold
from l1prune.penalties import Penalty, makes_zeros
from l1prune.penalties.trimmed import TrimmedPenalty
from l1prune.pressure.forms import Form, Proximal, Step
from l1prune.training.strength import Controller, Moment, Strength
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target

Memory = tuple[float, ...]
"""What a controller has learned: the strength first."""


@dataclass(frozen=True)
class Follow(Controller):
    """Finds the least strength at which the exact zeros follow the planned path.

    Of the weights that are due to be zero by now a share m is not; λ ← λ·(m/slack)^¼, at most
    doubled, and eased by at most 10 %, or halved when none is missing. In logarithms, it finds λ
    from many orders of magnitude away; and since only what is due is pressed in full, too strong a
    start makes zeros early, but not too many.

    Args:
        start: the first strength, > 0.
        slack: the share of the due weights that may be missing at first; a tenth of it at the end.
        ease: the share of the strength that presses what is due to stay, in [0, 1].
        settle: the batches over which this share grows from 0: weights that have not found their
            size yet do not gain from being pressed, and a short run is over by then.
        looks: how often the strength is adjusted, and the weights to press are chosen anew.
        arrive: at which share of the phase everything is due, in (0, 1]; the rest is for the last
            stragglers.

    >>> follow = Follow()
    >>> [follow((1.0,), missing=m, progress=0.5)[0] for m in (0.9, 1e-3, 0.0)]
    [2.0, 0.9, 0.5]
    """

    start: float = 1.0
    slack: float = 0.03
    ease: float = 0.1
    settle: int = 3000
    looks: int = 50
    arrive: float = 0.95

    def __post_init__(self) -> None:
        for name, most in (("start", math.inf), ("slack", 1), ("arrive", 1)):
            value = getattr(self, name)
            if not is_number(value, 0, most) or value == 0:
                raise ValueError(f"{name} must be above 0 and at most {most}, got {value!r}")
        if not is_number(self.ease, 0, 1):
            raise ValueError(f"ease must be a share between 0 and 1, got {self.ease!r}")
        for name in ("settle", "looks"):
            if not is_whole(getattr(self, name), 1):
                raise ValueError(f"{name} must be a whole number ≥ 1, got {getattr(self, name)!r}")

    def begin(self, plan: Plan, penalty: Penalty, form: Form | None) -> Strength:
        threshold = plan.threshold(())
        shrinks = makes_zeros(penalty) and (form is None or form.makes_zeros)
        steers = threshold is not None and threshold.share(1.0) is not None
        if threshold is None or not (steers and shrinks) or len(plan.ends) > 1:
            raise ValueError(
                f"strength={self!r} steers towards a share of exact zeros: it needs a "
                f"threshold that names one, got {plan!r}, and a penalty and form that "
                f"make them, got {penalty!r} and {form!r}; or give a number or a schedule"
            )
        return FollowStrength(self, threshold, penalty)

    def __call__(self, memory: Memory, missing: float, progress: float) -> Memory:
        if missing == 0:
            return (memory[0] / 2,)
        slack = self.slack * (1 - 0.9 * min(progress / self.arrive, 1.0))
        factor = (missing / slack) ** 0.25
        return (memory[0] * min(max(factor, 0.9), 2.0),)


class FollowStrength(Strength):
    """λ as `Follow` finds it; weights that are due to stay are spared.

    Args:
        follow: what steers.
        threshold: says what is due to go.
        penalty: what presses.
    """

    presses_small = True

    def __init__(self, follow: Follow, threshold: Threshold, penalty: Penalty) -> None:
        self.spared = Masks()
        self.ease = follow.ease
        self._follow, self._threshold, self._penalty = follow, threshold, penalty
        self._memory: Memory = (follow.start,)
        self._looks = 0

    @property
    def value(self) -> float:  # type: ignore[override]
        """λ of the coming step."""
        return self._memory[0]

    def form(self, form: Form | None) -> Form:
        return TrimmedForm(Proximal() if form is None else form, self)

    def advance(self, at: Moment, targets: Sequence[Target], masks: Mapping[str, Tensor]) -> None:
        """Look, when that is due, and choose anew which weights to spare."""
        self.spared.unpack(targets)
        look = int(at.progress * self._follow.looks)
        if look < self._looks:
            return
        self._looks = look + 1
        if any(target.name in self.spared for target in targets):
            self._memory = self._follow(self._memory, self._missing(targets), at.progress)
        self.ease = self._follow.ease * min(at.batches / self._follow.settle, 1.0)
        ahead = min((look + 1) / self._follow.looks / self._follow.arrive, 1.0)
        self.spared = Masks(cut(targets, self._penalty, self._threshold, masks, ahead))

    @torch.no_grad()
    def _missing(self, targets: Sequence[Target]) -> float:
        """The share of the weights due to go that is not zero yet."""
        looked_at = [target for target in targets if target.name in self.spared]
        weights = [target.parameter for target in looked_at]
        goes = [~local(self.spared[target.name]) for target in looked_at]
        counts = [
            torch.stack([go.sum(), (go & (local(w) != 0)).sum()])
            for go, w in zip(goes, weights, strict=True)
        ]
        due, missing = over_shards(counts, weights).sum(0).tolist()
        return float(missing / max(due, 1))

    def release(self) -> None:
        self.spared = Masks()  # a byte a weight

    def rename(self, names: Mapping[str, str]) -> None:
        self.spared = self.spared.renamed({name: names.get(name, name) for name in self.spared})

    def state_dict(self) -> dict[str, Any]:
        state = {"memory": self._memory, "looks": self._looks, "ease": self.ease}
        return state | {"spared": self.spared.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory = tuple(state["memory"])
        self._looks, self.ease = state["looks"], state["ease"]
        self.spared.load_state_dict(state["spared"])


@dataclass(frozen=True, eq=False)
class TrimmedForm(Form):
    """Another form, whose penalty is trimmed where weights are spared.

    Args:
        form: that other form.
        run: knows what is spared, and how much.
    """

    form: Form
    run: FollowStrength

    def check(self, optimizer: Optimizer) -> None:
        self.form.check(optimizer)

    def attach(
        self, optimizer: Optimizer, steps: Callable[[Optimizer], Iterator[Step]]
    ) -> list[RemovableHandle]:
        return self.form.attach(optimizer, steps)

    def after(self, step: Step) -> None:
        spared = self.run.spared.get(step.target.name)
        if spared is not None:
            trimmed = TrimmedPenalty(step.penalty, local(spared), self.run.ease)
            step = replace(step, penalty=trimmed, separable=False)
        self.form.after(step)
