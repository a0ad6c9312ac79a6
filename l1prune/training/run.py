"""Run: what a run has come to. Declared once; what a checkpoint holds follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from l1prune.cuts.masks import Masks
from l1prune.pressure.gradients import Gradients
from l1prune.training.criterion import RunCriterion
from l1prune.training.loop import Clock
from l1prune.training.rates import Rates
from l1prune.training.recipe import Recipe
from l1prune.training.resume.generators import Generators
from l1prune.training.stages import Stages
from l1prune.training.strength import Strength
from l1prune.training.validations import Validations


@dataclass(eq=False)
class Run:
    """The state of one run, of which every field is saved with a checkpoint.

    Each is a plain value, or has `state_dict` and `load_state_dict`: tensors and plain types only,
    so that a checkpoint loads with `weights_only=True`. A new run is a new `Run`.

    Args:
        rounds: how many cuts each stage has; not saved, since the arguments say so.
        strength: λ of this stage, and what its controller has learned.
        stages: those that have ended, and the network to go back to.
        criterion: what weights are worth, and what was learned of that.
        clock: how far it is.
        masks: what stays, by the weight's name.
        rounds_done: cuts of this stage that were made.
        steps: that each optimizer was pressed for.
        gradients: what pressure has seen of them, where it knows no metric of the optimizer.
        rates: the learning rates that the schedulers have planned.
        chosen: the names of the targets.
        randomness: the random generators of each process.
        validations: what each has come to.
        kernels: the names of those that have pressed and held weights.
    """

    rounds: int = field(metadata={"saved": False})
    strength: Strength
    stages: Stages
    criterion: RunCriterion
    clock: Clock
    masks: Masks = field(default_factory=Masks)
    rounds_done: int = 0
    steps: list[int] = field(default_factory=list)
    gradients: Gradients = field(default_factory=Gradients)
    rates: Rates = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    randomness: Generators = field(default_factory=Generators)
    validations: Validations = field(default_factory=Validations)
    kernels: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, recipe: Recipe, clock: Clock) -> Run:
        """A run that begins now.

        Args:
            recipe: what it is asked to do.
            clock: at its beginning.
        """
        return cls(
            rounds=len(recipe.prune_at),
            strength=recipe.begin_strength(),
            stages=Stages(recipe.plan),
            criterion=RunCriterion(recipe.criterion),
            clock=clock,
        )

    @property
    def phase(self) -> str:
        """`"press"` until the last cut of a stage, `"tune"` after it."""
        rounds = 0 if self.stages.threshold is None else self.rounds
        return "press" if self.rounds_done < rounds else "tune"

    @property
    def arrived(self) -> bool:
        """Whether the network is what the run is for so far: cut, and what the plan answers."""
        return self.phase == "tune" and (not self.stages.goes_back or self.stages.arrived)

    @property
    def has_arrived(self) -> bool:
        """Whether this network has, or one before it."""
        return self.arrived or bool(self.stages.outcomes)

    @property
    def complete(self) -> bool:
        """Whether all cuts are made, of all stages, and what follows is fine-tuning alone."""
        return self.stages.complete if self.stages.several else self.phase == "tune"

    @property
    def pressure(self) -> float:
        """λ of the current step."""
        return self.strength.value if self.phase == "press" else 0.0

    def release(self) -> None:
        """Let go of what only pressure and cuts need: the last cut of a stage is made."""
        self.strength.release()
        self.forget()

    def forget(self) -> None:
        """Forget what was learned of gradients: those that come are of another network."""
        self.criterion.reset()
        self.gradients.clear()

    def note_kernels(self, names: set[str]) -> str:
        """Take note of what presses and holds weights now; what is to be said if that is new."""
        new = names.difference(self.kernels)
        before, self.kernels = self.kernels, sorted({*self.kernels, *names})
        if not (new and before):
            return ""
        return (
            f"the run's weights were pressed and held by {', '.join(before)}, and are by "
            f"{', '.join(sorted(new))} from here on: bits may differ from those of a run that was "
            "not stopped, in their last place"
        )

    def rename(self, names: Mapping[str, str]) -> None:
        """Weights have other names now: by those that they had."""
        self.stages.rename(names)
        self.strength.rename(names)

    def state_dict(self) -> dict[str, Any]:
        """All fields by name. Processes call it together."""
        values = {name: getattr(self, name) for name in saved_fields()}
        return {n: v.state_dict() if hasattr(v, "state_dict") else v for n, v in values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave.

        Raises:
            ValueError: a field is missing, or a count is impossible.
        """
        missing = [name for name in saved_fields() if name not in state]
        if missing:
            raise ValueError(
                "the checkpoint holds the state of another L1Pruning, or of another version: it "
                f"has no {', '.join(missing)}; begin a new run from its weights"
            )
        for name in saved_fields():
            value = getattr(self, name)
            if hasattr(value, "load_state_dict"):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])
        if not 0 <= self.rounds_done <= self.rounds or self.clock.batches < 0:
            raise ValueError(
                f"the checkpoint contradicts itself: {self.rounds_done} of {self.rounds} cuts are "
                f"made after {self.clock.batches} batches; resume from another, or begin a new run"
            )


def saved_fields() -> list[str]:
    """The names under which a checkpoint holds a run's state."""
    return [one.name for one in fields(Run) if one.metadata.get("saved", True)]
