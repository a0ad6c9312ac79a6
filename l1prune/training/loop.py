"""Loop: what a run asks of what trains its model, a Trainer or a plain loop over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.cuts.plans import Plan
from l1prune.training.rates import Rates
from l1prune.weights.report import SparsityReport


class Removable(Protocol):
    """What hangs somewhere until it is removed."""

    def remove(self) -> None: ...


class Clock(Protocol):
    """What a checkpoint holds of how far a run is.

    Attributes:
        batches: that were trained since pruning began.
    """

    batches: int

    def end_batch(self) -> None:
        """A batch was trained."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Arrival(Protocol):
    """What is asked of a run by those who choose from its networks."""

    @property
    def arrived(self) -> bool:
        """Whether the network is what the run is for so far."""
        ...

    @property
    def has_arrived(self) -> bool:
        """Whether this network is, or one before it."""
        ...

    @property
    def complete(self) -> bool:
        """Whether all cuts are made."""
        ...


class Choices:
    """What others choose from the networks of a run, by a metric; here nobody does."""

    def validated(self) -> None:
        """A validation has measured the network as it is."""

    def begin_anew(self, measured: bool) -> None:
        """The network is another from now on, and what was chosen before is not what is asked for.

        Args:
            measured: whether a validation has just measured it.
        """

    def end(self) -> None:
        """Training is over: what has arrived is all that counts as best."""

    def remove(self) -> None:
        """Let the others go."""


class Loop(Protocol):
    """What trains a model, as a run sees it: the model, its optimizers, time, and who else acts."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """Those that move its weights."""
        ...

    @property
    def is_trial(self) -> bool:
        """Whether it only tries if all of it works, in a batch or two: no phase has to fit."""
        ...

    @property
    def thaws(self) -> bool:
        """Whether it unfreezes layers while it goes on."""
        ...

    # ---- time

    def begin(self) -> None:
        """Training starts, or goes on: refuse a loop that gives the run no time (ValueError)."""
        ...

    def begin_batch(self) -> None:
        """A batch is about to be trained."""
        ...

    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        ...

    def passes(self) -> float:
        """Passes over the training data since pruning began."""
        ...

    def steps(self) -> float:
        """Optimizer steps from where pruning began until the end; infinite if it is not known."""
        ...

    def validations_left(self) -> float:
        """How many come after the one that it is in; infinite if it is not known."""
        ...

    def check_stages(self, plan: Plan, shortest: float) -> None:
        """Refuse a plan of which a stage would have no validation, or no way back (ValueError).

        Args:
            plan: of several stages.
            shortest: the length of the shortest of them, as a share of the run.
        """
        ...

    def planned_rates(self) -> Rates:
        """The learning rates that are planned for the run."""
        ...

    # ---- who else acts

    def choices(self, run: Arrival, last: float) -> Choices:
        """Those who choose from the networks of a run, kept to what has arrived until removed.

        Args:
            run: whose networks they are.
            last: when the last cut comes, as a share of the run.
        """
        ...

    def clips_gradients(self) -> bool:
        """Whether the coming step may clip: only then does a removed weight's gradient matter."""
        ...

    def hold_averages(self, masks: Mapping[str, Tensor]) -> None:
        """Write the zeros into the running averages of the model that the loop keeps."""
        ...

    def moves_by_steps_alone(self) -> bool:
        """Whether nothing but steps of the optimizers can move weights between validations."""
        ...

    def before_steps(self, act: Callable[[bool], None]) -> Removable | None:
        """Have something done right before each forward pass, if others may act late.

        Args:
            act: is told whether the model is evaluated.
        """
        ...

    def suspects(self) -> list[str]:
        """Who may move weights otherwise than by steps of the optimizers, as a message says it."""
        ...

    def show_layers(self, report: SparsityReport) -> None:
        """The last cut is made: show what is left of each layer."""
        ...
