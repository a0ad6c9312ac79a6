"""A walk through stages: where a run is, what it has come to, and the network that it goes back to.

Time is the share of the run that is done. A stage ends with the first validation at its planned end
or after it, and the next one begins with the batch that follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from l1prune.cuts import masks
from l1prune.cuts.plans import Budget, Once, Outcome, Stages
from l1prune.cuts.thresholds import Threshold
from l1prune.training import averages, clock
from l1prune.weights.shards import count_nonzero, is_sharded
from l1prune.weights.targets import Target


class Walk:
    """Where a run is on its way through stages.

    Args:
        stages: says what each stage cuts.

    Attributes:
        outcomes: of the stages that have ended.
    """

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.outcomes: list[Outcome] = []
        self._starts = [0.0]
        self._threshold = stages.threshold(())
        self._kept: dict[str, Tensor] = {}
        self._kept_masks: dict[str, Tensor] = {}

    @property
    def threshold(self) -> Threshold | None:
        """What goes in this stage; None: nothing does."""
        return self._threshold

    @property
    def ended(self) -> bool:
        """Whether this stage has ended, and the next has not begun."""
        return len(self._starts) == len(self.outcomes)

    @property
    def waits(self) -> bool:
        """Whether there is a next stage to begin now."""
        return self.ended and len(self.outcomes) < len(self.stages.ends)

    @property
    def arrived(self) -> bool:
        """Whether this stage has ended, with what is the result so far."""
        return self.ended and self.stages.answer(self.outcomes) == len(self.outcomes) - 1

    def within(self, done: float) -> float:
        """How much of this stage is done, in [0, 1], when so much of the run is."""
        length = self._end - self._starts[-1]
        return min((done - self._starts[-1]) / length, 1.0) if length > 0 else 1.0

    @property
    def shortest(self) -> float:
        """The length of the shortest stage, as a share of the run."""
        ends = self.stages.ends
        return min(after - before for before, after in zip((0.0, *ends), ends, strict=False))

    @property
    def _end(self) -> float:
        return self.stages.ends[len(self._starts) - 1]

    @property
    def parts(self) -> tuple[float, ...]:
        """Where the stages until now have ended, and this one will: shares of the run."""
        return (*self._starts[1:], self._end)

    # ---- before the run

    def check(
        self, trainer: pl.Trainer, targets: Sequence[Target], prune_at: Sequence[float]
    ) -> None:
        """Refuse what stages cannot be walked with.

        Raises:
            ValueError: too few validations, or cuts at optimizer steps; or, with a budget, sharded
                weights or a running average, which would stay behind when the model goes back.
        """
        if isinstance(self.stages, Once):
            return
        if isinstance(prune_at[0], int):
            raise ValueError(
                f"prune_at={prune_at[0]}: with {type(self.stages).__name__} the cuts are shares of "
                "each stage, between 0 and 1"
            )
        _check_validations(self.stages, self.shortest, trainer)
        if isinstance(self.stages, Budget):
            found = averages.names_of(trainer.callbacks)  # type: ignore[attr-defined]
            if found or any(is_sharded(target.parameter) for target in targets):
                raise ValueError(
                    f"threshold: Budget takes the model back to an earlier state, which "
                    f"{found[0] if found else 'FSDP2'} does not follow; train without it, "
                    "or give a Sparsity"
                )

    # ---- while it runs

    def validated(
        self, trainer: pl.Trainer, model: nn.Module, made: Mapping[str, Tensor], batches: int
    ) -> None:
        """Look at a validation, and end the stage if it is time to.

        Args:
            trainer: has its figures.
            model: as it was validated.
            made: its masks.
            batches: that are done.

        Raises:
            ValueError: it has no figure of the name that a budget watches.
        """
        if isinstance(self.stages, Once) or trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if isinstance(self.stages, Budget) and self.stages.monitor not in metrics:
            raise ValueError(
                f"monitor={self.stages.monitor!r} is not among what validation logs: "
                f"{', '.join(sorted(metrics)) or 'nothing'}"
            )
        if trainer.sanity_checking or clock.progress(trainer, batches) < self._end - 1e-9:
            return
        outcome: Outcome = {"sparsity": _sparsity(made), **metrics}
        self.outcomes.append(trainer.strategy.broadcast(outcome))
        if isinstance(self.stages, Budget) and self.arrived:
            state = model.state_dict()
            self._kept = {name: value.detach().cpu().clone() for name, value in state.items()}
            self._kept_masks = masks.pack_all(made)

    def go_on(self, done: float) -> None:
        """Begin the next stage."""
        self._threshold = self.stages.threshold(self.outcomes)
        self._starts.append(done)

    def go_back_(
        self, model: nn.Module, targets: Sequence[Target], made: dict[str, Tensor]
    ) -> bool:
        """Give the model, and the masks, what they were when the best stage ended, in place.

        Returns:
            Whether that was another than what they are now.
        """
        if self.arrived or not self._kept:
            return False
        model.load_state_dict(self._kept)
        made.clear()
        made.update(masks.unpack_all(self._kept_masks, targets))
        return True

    def conclude(self) -> None:
        """Say so, if no stage has come to what was asked for."""
        if not isinstance(self.stages, Budget) or len(self.outcomes) < 2:
            return
        if self.stages.answer(self.outcomes) == 0:
            name, (dense, *tried) = self.stages.monitor, self.outcomes
            found = ", ".join(f"{o[name]:.4g} at {100 * o['sparsity']:.1f} %" for o in tried)
            rank_zero_warn(
                f"no smaller network keeps {name} within {self.stages.max_drop} of the dense "
                f"network's {dense[name]:.4g} ({found}): here is the dense one; allow more, or "
                "train longer"
            )

    def state_dict(self) -> dict[str, Any]:
        names = ("outcomes", "_starts", "_kept", "_kept_masks")
        return {name.lstrip("_"): getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.outcomes = [dict(outcome) for outcome in state["outcomes"]]
        self._starts = list(state["starts"])
        self._kept, self._kept_masks = state["kept"], state["kept_masks"]
        self._threshold = self.stages.threshold(self.outcomes[: len(self._starts) - 1])


def _sparsity(made: Mapping[str, Tensor]) -> float:
    total = sum(mask.numel() for mask in made.values())
    return 1 - sum(count_nonzero(list(made.values()))) / total if total else 0.0


def _check_validations(stages: Stages, shortest: float, trainer: pl.Trainer) -> None:
    batches = clock.planned_batches(trainer)
    if trainer.max_steps > 0:
        batches = min(batches, float(trainer.max_steps * trainer.accumulate_grad_batches))
    every = float(trainer.val_check_batch or 0) * (trainer.check_val_every_n_epoch or 1)
    if not trainer.enable_validation or shortest * batches < every * (1 - 1e-9):
        length = "no validation" if not trainer.enable_validation else f"one every {every:.0f}"
        raise ValueError(
            f"threshold={stages!r}: each of its {len(stages.ends)} stages ends with a validation, "
            f"but the run of {batches:.0f} batches has {length}; train longer, or validate more "
            "often"
        )
