"""State: what a run has come to, and what of it a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from l1prune.checks import check_same, described
from l1prune.cuts import fisher, masks
from l1prune.cuts.plans import Budget, Outcome, Stages
from l1prune.training.rates import Rates
from l1prune.training.resume import randomness
from l1prune.training.spawn import Launched
from l1prune.training.stages import Walk
from l1prune.training.strength import Controlled, Scheduled
from l1prune.weights.report import SparsityReport
from l1prune.weights.targets import Target

# Spelled out: to ask `state_dict` would pack all masks, and have all processes wait for each other.
KEYS = frozenset(
    [
        "arguments",
        "batches",
        "per_epoch",
        "rounds_done",
        "steps",
        "strength",
        "masks",
        "fishers",
        "walk",
        "rates",
        "randomness",
    ]
)


class RunState(Launched, pl.Callback):
    """A callback that can be saved at any moment and goes on from there, to the bit.

    Tensors and plain types only, so that a checkpoint loads with `weights_only=True`: the step
    counters, the rounds done, the strength and what its controller has learned, the masks, eight
    weights a byte, what the gradients were like at the last cut, and the random generators of each
    process.

    Args:
        make_strength: makes the strength of a new run, and of each of its stages.
        stages: that it walks through.
        arguments: those of the callback, by name: a resumed run must have the same.

    Attributes:
        prune_at: when cuts are due, in each stage; to be set before.
    """

    prune_at: tuple[float, ...]

    def __init__(
        self,
        make_strength: Callable[[], Scheduled | Controlled],
        stages: Stages,
        arguments: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._stages = stages
        self._make_strength = make_strength
        self._arguments = described(arguments)
        self._evaluates = False
        self._reset()

    @property
    def phase(self) -> str:
        """`"press"` until the last cut of a stage, `"tune"` after it."""
        rounds = 0 if self._walk.threshold is None else len(self.prune_at)
        return "press" if self.rounds_done < rounds else "tune"

    @property
    def outcomes(self) -> list[Outcome]:
        """What the stages came to that have ended, where the threshold has stages."""
        return self._walk.outcomes

    @property
    def stage_ended(self) -> bool:
        """Whether the last validation ended a stage, where the threshold has stages."""
        return self._walk.ended

    @property
    def arrived(self) -> bool:
        """Whether the network is what the run is for so far: cut, and within the budget."""
        stages = self._walk.stages
        return self.phase == "tune" and (not isinstance(stages, Budget) or self._walk.arrived)

    @property
    def strength(self) -> float:
        """λ of the current step."""
        return self._strength.value if self.phase == "press" else 0.0

    def _reset(self) -> None:
        """Forget the last run."""
        self.report: SparsityReport | None = None
        self.masks: masks.Masks = {}
        self.batches = 0
        self._per_epoch = 0.0
        self.rounds_done = 0
        self.steps: list[int] = []
        self._strength = self._make_strength()
        self._walk = Walk(self._stages)
        self._rates: Rates = []
        self._fishers: fisher.Fishers = {}
        self._packed: dict[str, Tensor] = {}
        self._packed_fishers: dict[str, dict[str, Any]] = {}
        self._randomness: list[randomness.State] = []
        self._resumed = False

    def _unpack(self, targets: Sequence[Target]) -> None:
        self.masks.update(masks.unpack_all(self._packed, targets))
        self._packed = {}
        self._fishers.update(fisher.unpacked(self._packed_fishers, targets))
        self._packed_fishers = {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "arguments": self._arguments,
            "batches": self.batches,
            "per_epoch": self._per_epoch,
            "rounds_done": self.rounds_done,
            "steps": self.steps,
            "strength": self._strength.state_dict(),
            "masks": self._packed or masks.pack_all(self.masks),
            "fishers": self._packed_fishers or fisher.packed(self._fishers),
            "walk": self._walk.state_dict(),
            "rates": self._rates,
            "randomness": randomness.captured_everywhere(),
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._evaluates = trainer.state.fn != TrainerFn.FITTING

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._evaluates:
            return  # what the last run came to is still worth knowing
        missing = KEYS - state_dict.keys()
        if missing:
            raise ValueError(
                "the checkpoint holds the state of another L1Pruning, or of another version: it "
                f"has no {', '.join(sorted(missing))}; begin a new run from its weights"
            )
        check_same(self._arguments, state_dict["arguments"])
        self._reset()
        self.batches = state_dict["batches"]
        self._per_epoch = state_dict["per_epoch"]
        self.rounds_done = state_dict["rounds_done"]
        self.steps = state_dict["steps"]
        self._strength.load_state_dict(state_dict["strength"])
        self._packed = state_dict["masks"]
        self._packed_fishers = state_dict["fishers"]
        self._walk.load_state_dict(state_dict["walk"])
        self._rates = state_dict["rates"]
        # Now, before the data are shuffled: an epoch's order is what it would have been.
        self._randomness = state_dict["randomness"]
        randomness.restore_own(self._randomness)
        self._resumed = True
