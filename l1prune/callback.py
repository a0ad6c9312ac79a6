"""L1Pruning walks a Lightning Trainer through pressure, cut and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from l1prune import clock, masks, tracking
from l1prune.controllers import Controller, Feedback, Memory
from l1prune.penalties import L1, Penalty, makes_zeros
from l1prune.pressure import Form, Pressure, Proximal, Subgradient
from l1prune.report import SparsityReport
from l1prune.schedules import Constant, Schedule, WarmupHoldDecay
from l1prune.targets import Rules, Targets, as_rules, find_targets
from l1prune.thresholds import Sparsity, Threshold, as_threshold

Plan = Schedule | Controller


class L1Pruning(pl.Callback):
    """Trains under L1 pressure, removes what has become small, fine-tunes what is left.

    Args:
        strength: λ: a number, a `Schedule` over the pressure phase, or a `Controller`. By default
            a controller finds it, so that there is nothing to tune.
        threshold: what is removed: `Sparsity(0.95)`, or a number: weights smaller than it.
        penalty: what presses: `L1()`, `ElasticNet()`, `GroupL1()`, …
        prune_at: when: a share of the run in (0, 1), an optimizer step, or several of either for
            several rounds, after each of which the rest is pressed on.
        targets: which weights: see `find_targets`; by default the weights of all layers.
        form: how the penalty enters a step: `Proximal()`, `Subgradient()`.

    Attributes:
        report: exact counts, after `fit`.

    Raises:
        ValueError: an argument makes no sense (at once), or does not fit the model, the optimizer
            or the length of the run (before the first step).

    >>> L1Pruning(threshold=0.001, prune_at=0.5).phase
    'press'
    """

    def __init__(
        self,
        strength: float | Plan | None = None,
        threshold: float | Threshold = Sparsity(0.95),
        penalty: Penalty = L1(),
        prune_at: float | int | Sequence[float] | Sequence[int] = 0.6,
        targets: Rules | None = None,
        form: Form = Proximal(),
    ) -> None:
        if not callable(getattr(penalty, "prox_", None)):
            raise ValueError(f"penalty must be one of l1prune.penalties, as L1(), got {penalty!r}")
        self.threshold = as_threshold(threshold)
        self.penalty = penalty
        self.form = form
        self.targets = None if targets is None else as_rules(targets)
        self.prune_at = _as_rounds(prune_at)
        self.plan = _as_plan(strength, self.threshold, penalty, form)
        self._attached: list[Pressure | masks.Hold] = []
        self._reset()

    def _reset(self) -> None:
        """Forget the last run."""
        self.report: SparsityReport | None = None
        self.masks: masks.Masks = {}
        self.batches = 0
        self.rounds_done = 0
        self.checks_done = 0
        controlled = isinstance(self.plan, Controller)
        self.memory: Memory = self.plan.begin() if controlled else (self.plan(0.0),)
        self._packed: dict[str, Tensor] = {}
        self._resumed = False

    @property
    def strength(self) -> float:
        """λ of the current step."""
        return self.memory[0] if self.phase == "press" else 0.0

    @property
    def phase(self) -> str:
        """`"press"` until the last cut, `"tune"` after it."""
        return "press" if self.rounds_done < len(self.prune_at) else "tune"

    # ---- the run begins

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0 and not self._resumed:
            self._reset()
        self._resumed = False
        self._found = find_targets(pl_module, self.targets)
        units = [self.penalty.score(target.parameter.detach()) for target in self._found]
        sizes = [t.parameter.numel() // u.numel() for t, u in zip(self._found, units, strict=True)]
        self.threshold.check([u.numel() for u in units], sizes)
        tracking.define_axes(trainer.loggers)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._shares = clock.as_shares(self.prune_at, trainer)
        for target in self._found:
            if target.name in self._packed:
                mask = masks.unpack(self._packed[target.name], target.parameter.shape)
                self.masks[target.name] = mask.to(target.parameter.device)
        masks.hold_(self._found, self.masks)
        self._attach(trainer.optimizers)

    def _attach(self, optimizers: Sequence[Optimizer]) -> None:
        self._detach()
        for optimizer in optimizers:
            pressure = Pressure(optimizer, self._found, self.penalty, self.strength, self.form)
            self._attached += [pressure, masks.Hold(optimizer, self._found, self.masks)]
        moved = {id(w) for o in optimizers for group in o.param_groups for w in group["params"]}
        still = [target.name for target in self._found if id(target.parameter) not in moved]
        if still:
            rank_zero_warn(f"no optimizer moves {', '.join(still)}: will be cut, but not pressed")

    def _detach(self) -> None:
        for attached in self._attached:
            attached.remove()
        self._attached = []

    # ---- the run goes on

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        done = clock.progress(trainer, self.batches)
        due = sum(share <= done for share in self._shares)
        if due > self.rounds_done:
            self._cut(trainer, pl_module, due)
        self._press(min(done / self._shares[-1], 1.0))

    def _cut(self, trainer: pl.Trainer, pl_module: pl.LightningModule, due: int) -> None:
        progress = due / len(self._shares)
        cut = masks.cut(self._found, self.penalty, self.threshold, self.masks, progress)
        self.masks.update(cut)
        masks.hold_(self._found, self.masks)
        self.rounds_done = due
        if self.phase == "tune":
            tracking.log_layers(trainer.loggers, SparsityReport.of(pl_module, self._found))

    def _press(self, progress: float) -> None:
        """Set the strength of the coming step; `progress` is the pressure phase's own."""
        if not isinstance(self.plan, Controller):
            self.memory = (self.plan(progress),)
        elif progress * self.plan.checks >= self.checks_done + 1:
            self.checks_done = int(progress * self.plan.checks)
            self.memory = self.plan(self.memory, self._zeros(), self._due(progress))
        for attached in self._attached:
            if isinstance(attached, Pressure):
                attached.strength = self.strength

    def _due(self, progress: float) -> float:
        assert isinstance(self.plan, Feedback) and isinstance(self.threshold, Sparsity)
        return self.plan.share * self.plan.path(progress) * self.threshold.sparsity

    def _zeros(self) -> float:
        """Share of exact zeros among the targets."""
        left = sum(int(target.parameter.count_nonzero()) for target in self._found)
        return 1 - left / sum(target.parameter.numel() for target in self._found)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        masks.hold_gradients_(self._found, self.masks)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.batches += 1

    # ---- what is seen

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With the validation's own figures, so that a logger puts both on one line.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._log(pl_module)
            tracking.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        tracking.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation:
            self._log(pl_module)

    def _log(self, pl_module: pl.LightningModule) -> None:
        report = SparsityReport.of(pl_module, self._found)
        pl_module.log_dict(
            {
                "params/nonzero": float(report.nonzero),
                "params/sparsity": report.sparsity,
                "prune/strength": self.strength,
            }
        )

    # ---- the run ends, or is stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        masks.hold_(self._found, self.masks)
        self._detach()
        self.report = SparsityReport.of(pl_module, self._found)
        tracking.summarise(trainer.loggers, self.report)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._detach()

    def state_dict(self) -> dict[str, Any]:
        packed = {name: masks.pack(mask) for name, mask in self.masks.items()}
        return {
            "batches": self.batches,
            "rounds_done": self.rounds_done,
            "checks_done": self.checks_done,
            "memory": self.memory,
            "masks": packed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._reset()
        self.batches = state_dict["batches"]
        self.rounds_done = state_dict["rounds_done"]
        self.checks_done = state_dict["checks_done"]
        self.memory = tuple(state_dict["memory"])
        self._packed = state_dict["masks"]
        self._resumed = True


def _as_rounds(prune_at: float | Sequence[float]) -> tuple[float, ...]:
    """`prune_at` as increasing shares of the run, or increasing optimizer steps."""
    rounds = tuple(prune_at) if isinstance(prune_at, Sequence) else (prune_at,)
    shares = all(isinstance(at, float) and 0 < at < 1 for at in rounds)
    steps = all(isinstance(at, int) and not isinstance(at, bool) and at >= 1 for at in rounds)
    rising = all(a < b for a, b in zip(rounds, rounds[1:], strict=False))
    if not (rounds and rising and (shares or steps)):
        raise ValueError(
            f"prune_at must be a share of the run between 0 and 1, an optimizer step ≥ 1, or a "
            f"rising list of either, got {prune_at!r}; 0.6 cuts after 60 % of the run"
        )
    return rounds


def _as_plan(
    strength: float | Plan | None, threshold: Threshold, penalty: Penalty, form: Form
) -> Plan:
    """How the strength goes over the pressure phase."""
    steerable = isinstance(threshold, Sparsity) and makes_zeros(penalty)
    steerable = steerable and not isinstance(form, Subgradient)
    if strength is None:
        return Feedback() if steerable else WarmupHoldDecay(0.1)
    if isinstance(strength, Controller):
        if not steerable:
            raise ValueError(
                f"strength={strength!r} steers towards a share of exact zeros: it needs a threshold "
                f"that names one, got {threshold!r}, and a penalty and form that make them, got "
                f"{penalty!r} and {form!r}; or give a number or a schedule"
            )
        return strength
    if callable(strength):
        return strength
    if not isinstance(strength, int | float):
        raise ValueError(f"strength must be a number ≥ 0, a schedule or a controller, got {strength!r}")
    return Constant(float(strength))
