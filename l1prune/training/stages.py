"""Stages: where a run is among those of its plan, and the network that it goes back to.

Time is the share of the run that is done. A stage ends with the first validation at its planned end
or after it, or earlier, if later ones are too few for the stages to come; the next one begins with
the batch that follows. Training that goes on after the last stage is of the answer, and is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from l1prune.cuts import masks
from l1prune.cuts.plans import Outcome, Plan
from l1prune.cuts.thresholds import Threshold
from l1prune.training.loop import Loop
from l1prune.weights.shards import count_nonzero, is_sharded, of_each_process
from l1prune.weights.targets import Target
from l1prune.weights.warning import warn


class Stages:
    """Where a run is among the stages of its plan.

    Args:
        plan: says what each stage cuts.

    Attributes:
        outcomes: of the stages that have ended, where there are several.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcomes: list[Outcome] = []
        self._starts = [0.0]
        self._threshold = plan.threshold(())
        self._kept: dict[str, Tensor] = {}
        self._kept_masks: dict[str, Tensor] = {}
        self._settled = False  # all have ended, and the answer is trained on
        self._closed = 1.0  # where the last one ended
        self._more: float | None = None  # where the run, made longer since, goes on

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.plan.ends) > 1

    @property
    def goes_back(self) -> bool:
        """Whether the model may return to what it was at the end of an earlier stage."""
        return self.several and self.plan.goes_back

    @property
    def threshold(self) -> Threshold | None:
        """What goes in this stage; None: nothing does."""
        return self._threshold

    @property
    def ended(self) -> bool:
        """Whether this stage has ended, and the next has not begun."""
        return len(self._starts) == len(self.outcomes) and not self._settled

    @property
    def is_last(self) -> bool:
        """Whether no other comes after this one."""
        return len(self._starts) == len(self.plan.ends)

    @property
    def waits(self) -> bool:
        """Whether there is a next stage to begin now."""
        return self.ended and not self.complete

    @property
    def complete(self) -> bool:
        """Whether all of them have ended."""
        return len(self.outcomes) == len(self.plan.ends)

    @property
    def arrived(self) -> bool:
        """Whether this stage has ended with what is the result so far, or that is trained on."""
        last = len(self.outcomes) - 1
        return self._settled or (self.ended and self.plan.answer(self.outcomes) == last)

    def within(self, done: float) -> float:
        """How much of this stage is done, in [0, 1], when so much of the run is."""
        length = self._end - self._starts[-1]
        return min((done - self._starts[-1]) / length, 1.0) if length > 0 else 1.0

    @property
    def shortest(self) -> float:
        """The length of the shortest stage, as a share of the run."""
        ends = self.plan.ends
        return min(after - before for before, after in zip((0.0, *ends), ends, strict=False))

    @property
    def _end(self) -> float:
        return self.plan.ends[len(self._starts) - 1]

    @property
    def parts(self) -> tuple[float, ...]:
        """Where the stages until now have ended, and this one will: shares of the run."""
        return (*self._starts[1:], self._end) if self._more is None else (self._more, 1.0)

    # ---- before the run

    def check(self, loop: Loop, prune_at: Sequence[float]) -> None:
        """Refuse a run in which the stages cannot end.

        Raises:
            ValueError: too few validations, or cuts at optimizer steps; or, where the model may go
                back, sharded weights or a running average, which would stay behind.
        """
        if not self.several or loop.is_trial:
            return
        if isinstance(prune_at[0], int):
            raise ValueError(
                f"prune_at={prune_at[0]}: with {type(self.plan).__name__} the cuts are shares of "
                "each stage, between 0 and 1"
            )
        loop.check_stages(self.plan, self.shortest)
        if self.goes_back and any(map(is_sharded, loop.model.parameters())):
            raise ValueError(stays_behind(self.plan, "FSDP2"))

    # ---- while it runs

    def check_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Raise ValueError if a validation has no figure of the name that the plan goes by."""
        if self.several:
            self.plan.check_metrics(_numbers(metrics))

    def validated(
        self,
        loop: Loop,
        metrics: Mapping[str, Any],
        held: Mapping[str, Tensor],
        tunes: bool,
    ) -> bool:
        """Look at a validation, and end the stage if it is time to.

        Returns:
            Whether the network is the new answer of a plan that may go back to another.

        Args:
            loop: is in that validation.
            metrics: its figures by name, numbers or tensors of one element.
            held: the masks of the model as it was validated.
            tunes: whether all cuts of the stage are made.

        Raises:
            ValueError: there is no figure of the name that the plan goes by.
        """
        self.check_metrics(metrics)
        if not self.several or self.complete:
            return False
        to_come = len(self.plan.ends) - len(self.outcomes)
        last_chance = tunes and loop.validations_left() < to_come
        done = loop.progress()
        if done < self._end - 1e-9 and not last_chance:
            return False
        outcome: Outcome = {"sparsity": _sparsity(held), **_numbers(metrics)}
        self.outcomes.append(of_each_process(outcome)[0])
        self._closed = done
        if not self.goes_back or not self.arrived:
            return False
        state = loop.model.state_dict()
        self._kept = {name: value.detach().cpu().clone() for name, value in state.items()}
        self._kept_masks = masks.pack_all(held)
        return True

    def go_on(self, done: float) -> None:
        """Begin the next stage."""
        self._threshold = self.plan.threshold(self.outcomes)
        self._starts.append(done)

    def settle(self) -> None:
        """All have ended: what is trained from now on is the answer."""
        self._settled = True
        self._kept, self._kept_masks = {}, {}

    def begin_again(self, done: float) -> None:
        """A fit begins when so much of the run is done: less than was, if it has become longer."""
        if self.complete and done < self._closed - 1e-3:
            self._closed = self._more = done

    def go_back_(
        self, model: nn.Module, targets: Sequence[Target], held: dict[str, Tensor]
    ) -> bool:
        """Give the model, and the masks, what they were when the best stage ended, in place.

        Returns:
            Whether that was another than what they are now.
        """
        if not self.goes_back or self.arrived or not self._kept:
            return False
        own = model.state_dict()
        fits = {n: w for n, w in self._kept.items() if n in own and own[n].shape == w.shape}
        model.load_state_dict(fits, strict=False)
        if since := sorted(own.keys() - fits.keys()):
            warn(f"{', '.join(since[:4])} joined since, and stay as they are")
        stay = {name: mask for name, mask in held.items() if name not in fits}
        held.clear()
        held.update(stay | masks.unpack_all(self._kept_masks, targets))
        return True

    def rename(self, names: Mapping[str, str]) -> None:
        """Weights have other names now: by those that they had."""
        for kept in (self._kept, self._kept_masks):
            values = {names.get(name, name): value for name, value in kept.items()}
            kept.clear()
            kept.update(values)

    def conclude(self) -> None:
        """Say so, if stages are missing, or none has come to what was asked for."""
        for said in (unfinished(self.plan, self.outcomes), self.plan.shortfall(self.outcomes)):
            if said is not None:
                warn(said)
        self._closed = 1.0
        if self.complete:
            self._kept, self._kept_masks = {}, {}  # the answer is in place

    def state_dict(self) -> dict[str, Any]:
        names = ("_kept", "_kept_masks", "_settled", "_closed", "_more")
        outcomes = [dict(outcome) for outcome in self.outcomes]  # the run's own go on with it
        lists = {"outcomes": outcomes, "starts": list(self._starts)}
        return lists | {name.lstrip("_"): getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.outcomes = [dict(outcome) for outcome in state["outcomes"]]
        self._starts = list(state["starts"])
        self._kept, self._kept_masks = state["kept"], state["kept_masks"]
        self._settled, self._more = state.get("settled", False), state.get("more")
        self._closed = state.get("closed", 1.0)
        self._threshold = self.plan.threshold(self.outcomes[: len(self._starts) - 1])


def unfinished(plan: Plan, outcomes: Sequence[Outcome]) -> str | None:
    """What to warn of at the end, if stages are missing; None: none is.

    >>> from l1prune import SparsityPath
    >>> unfinished(SparsityPath((0.5, 0.9)), [{"sparsity": 0.5}])[:57]
    'the run ended with 1 of the 2 stages of SparsityPath(spar'
    """
    count = len(plan.ends)
    if count in (1, len(outcomes)):
        return None
    handed = "the network that the training left"
    if plan.goes_back and outcomes:
        answer = plan.answer(outcomes)
        handed = f"that of stage {answer + 1}, with {outcomes[answer]['sparsity']:.1%} zeros"
    return (
        f"the run ended with {len(outcomes)} of the {count} stages of {plan!r}: no validation came "
        f"at the end of the others, and what is handed back is {handed}; train on, or validate "
        "more often"
    )


def goes_by_validations(plan: Plan) -> str:
    """How it begins to say that validations are missing."""
    return f"threshold={plan!r}: each of its {len(plan.ends)} stages ends with a validation, but"


def check_often(plan: Plan, shortest: float, length: float, every: float, unit: str) -> None:
    """Refuse a plan of which a stage may have no validation.

    Args:
        plan: of several stages.
        shortest: the length of the shortest of them, as a share of the run.
        length: of the run; infinite, if it is not known.
        every: how much of it lies between two validations.
        unit: of both.

    Raises:
        ValueError: they are too far from each other.
    """
    if not math.isinf(length) and shortest * length < every * (1 - 1e-9):
        raise ValueError(
            f"{goes_by_validations(plan)} the run of {length:.0f} {unit} has one every {every:.0f};"
            " train longer, or validate more often"
        )


def stays_behind(plan: Plan, name: str) -> str:
    """Why a plan that goes back is refused beside something that would not go with the model."""
    return (
        f"threshold: {type(plan).__name__} takes the model back to an earlier state, which {name} "
        "does not follow; train without it, or give a Sparsity"
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _sparsity(held: Mapping[str, Tensor]) -> float:
    total = sum(mask.numel() for mask in held.values())
    return 1 - sum(count_nonzero(list(held.values()))) / total if total else 0.0
