"""A run walks through stages, and ends with the network that it was for."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from tasks import Task, examples, fit
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from l1prune import Budget, L1Pruning, Plan, Sparsity, SparsityPath, once, rounds
from l1prune.cuts.plans import Outcome
from l1prune.cuts.thresholds import Threshold
from l1prune.training.stages import Stages
from l1prune.weights.report import SparsityReport


class Needy(Task):
    """Validated as good as long as it has a share `least` of its weights."""

    def __init__(self, least: float = 0.1) -> None:
        super().__init__(optimizer=partial(torch.optim.Adam, lr=0.01), data=examples(40))
        self.least = least
        self.seen: list[tuple[Tensor, float]] = []
        self.rates: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        report = SparsityReport.of(self)
        good = 1.0 if report.nonzero >= self.least * report.prunable else 0.5
        self.log("val/accuracy", good)
        self.seen.append((self.net[0].weight.detach().clone(), good))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(1, 8), torch.zeros(1, 2)))

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def walked(threshold: Any, task: Needy, epochs: int = 9, **options: Any) -> L1Pruning:
    callback = L1Pruning(0.0, threshold, prune_at=rounds(0.2, 0.6, 3))
    fit(task, callback, epochs=epochs, **options)
    return callback


def test_a_path_leaves_a_network_at_each_sparsity() -> None:
    callback = walked(SparsityPath((0.5, 0.8, 0.9)), Needy(), epochs=10)
    assert [outcome["sparsity"] for outcome in callback.outcomes] == [0.5, 0.8, 0.9]
    assert callback.report
    assert callback.report.sparsity == 0.9
    assert callback.phase == "tune"


def test_what_went_in_one_stage_stays_away_in_the_next() -> None:
    task = Needy()
    walked(SparsityPath((0.5, 0.8, 0.9)), task, epochs=10)
    zeros = [weight == 0 for weight, _ in task.seen[1:]]
    assert all(bool(later[before].all()) for before, later in itertools.pairwise(zeros))


def test_in_each_stage_the_learning_rate_begins_anew() -> None:
    task = Needy()
    walked(SparsityPath((0.5, 0.8)), task, epochs=8)
    steps = len(task.rates)
    first = steps * 3 // 4
    assert task.rates[0] == task.rates[first] == 0.01
    assert all(a > b for a, b in zip(task.rates[:first], task.rates[1:first], strict=False))
    assert task.rates[first - 1] < 0.1 * task.rates[0]
    assert task.rates[-1] < 0.2 * task.rates[0]


# ---- a budget


@pytest.mark.parametrize("least", [0.6, 0.2, 0.1])
def test_the_answer_respects_the_budget_and_is_what_was_validated(least: float) -> None:
    task = Needy(least)
    callback = walked(Budget("val/accuracy", 0.1, rounds=6), task, epochs=18)
    assert callback.report
    assert least * 300 <= callback.report.nonzero < 2 * least * 300
    assert len(callback.outcomes) == 7
    good = [weight for weight, accuracy in task.seen if accuracy == 1.0]
    assert any(torch.equal(weight, task.net[0].weight) for weight in good)
    masked = ~callback.masks["net.0.weight"]
    assert bool((task.net[0].weight[masked] == 0).all())


@pytest.mark.filterwarnings("ignore:the cut left")
@pytest.mark.parametrize("floor", [0, 1, 3])
def test_where_any_network_is_good_enough_the_floors_are_what_is_left(floor: int) -> None:
    task = Needy(least=0.0)
    callback = walked(Budget("val/accuracy", 0.1, rounds=6, floor=floor), task, epochs=18)
    assert callback.report
    assert callback.report.nonzero == floor * len(callback.masks)


def test_without_any_smaller_network_in_the_budget_the_dense_one_comes_back() -> None:
    task = Needy(least=1.0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        callback = walked(Budget("val/accuracy", 0.1, rounds=3), task, epochs=9)
    said = [str(one.message) for one in told]
    assert any("no smaller network keeps val/accuracy within 0.1" in one for one in said)
    assert callback.report
    assert callback.report.sparsity == 0.0


def test_while_the_dense_network_learns_nothing_presses_it() -> None:
    callback = L1Pruning(0.1, Budget("val/accuracy", 0.1, rounds=2), prune_at=once(0.5))
    phases: list[str] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            phases.append(callback.phase)

    fit(Needy(0.05), callback, Watch(), epochs=6)
    assert set(phases[:8]) == {"tune"}
    assert phases[8:] == (["press"] * 4 + ["tune"] * 4) * 2


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_that_is_stopped_early_ends_with_the_best_so_far_and_says_so() -> None:
    task = Needy(least=0.2)
    callback = L1Pruning(0.0, Budget("val/accuracy", 0.1, rounds=6), prune_at=rounds(0.2, 0.6, 3))
    with pytest.warns(UserWarning, match="the run ended with 0 of the 7 stages of Budget"):
        fit(task, callback, Stop(3), epochs=18)
    assert callback.report
    assert callback.report.nonzero >= 60


@pytest.mark.filterwarnings("ignore:the run ended with . of the . stages")
@pytest.mark.parametrize("threshold", [Budget("val/accuracy", 0.1), SparsityPath((0.5, 0.8))])
@pytest.mark.parametrize("stop", [6, 7, 11, 12, 15, 16])
def test_stopped_and_resumed_it_is_the_same_walk(tmp_path: Path, threshold: Any, stop: int) -> None:
    whole, part, rest = Needy(0.2), Needy(0.2), Needy(0.2)
    first = walked(threshold, whole, epochs=21)

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == stop - 1:
                trainer.save_checkpoint(tmp_path / "stop.ckpt")
                trainer.should_stop = True

    cuts = rounds(0.2, 0.6, 3)
    fit(part, L1Pruning(0.0, threshold, prune_at=cuts), Save(), epochs=21)
    again = L1Pruning(0.0, threshold, prune_at=cuts)
    fit(rest, again, resume=tmp_path / "stop.ckpt", epochs=21)
    assert again.outcomes == first.outcomes
    assert part.rates + rest.rates == whole.rates
    for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_fit_again_is_a_new_walk() -> None:
    callback = L1Pruning(0.0, Budget("val/accuracy", 0.1, rounds=2), prune_at=once(0.5))
    for _ in range(2):
        fit(Needy(0.05), callback, epochs=6)
        assert len(callback.outcomes) == 3


# ---- validations that fall elsewhere than on the ends of stages

OFTEN: dict[str, dict[str, Any]] = {
    "within epochs": {"val_check_interval": 0.3},
    "late in epochs": {"val_check_interval": 0.7},
    "every so many batches": {"val_check_interval": 7, "check_val_every_n_epoch": None},
    "an end within an epoch": {"epochs": -1, "max_steps": 95},
    "every third epoch": {"check_val_every_n_epoch": 3},
    "accumulation": {"accumulate_grad_batches": 3, "val_check_interval": 0.4},
}


PLANS: dict[str, tuple[Plan, int, list[float]]] = {
    "budget": (Budget("val/accuracy", 0.1, rounds=2), 10, [0.0, 0.75, 0.94]),
    "path": (SparsityPath((0.5, 0.8)), 16, [0.5, 0.8]),
}


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("how", OFTEN)
def test_each_stage_ends_wherever_validations_fall(how: str, kind: str) -> None:
    plan, epochs, sparsities = PLANS[kind]
    task = Needy(0.0)
    task.data = examples(100)
    callback = walked(plan, task, **{"epochs": epochs, **OFTEN[how]})
    found = [outcome["sparsity"] for outcome in callback.outcomes]
    assert found == pytest.approx(sparsities, abs=0.005)
    assert callback.report and callback.report.sparsity == found[-1]


class Plain(Needy):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Examples one after the other, and a length that may be wrong."""

    def __init__(self, told: int | None, lengths: Iterator[int]) -> None:
        self.told, self.lengths = told, lengths

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from (examples(100)[i] for i in range(next(self.lengths)))

    def __len__(self) -> int:
        if self.told is None:
            raise TypeError
        return self.told


@pytest.mark.filterwarnings("ignore:Length of IterableDataset", "ignore:Your `IterableDataset`")
def test_a_last_epoch_that_is_shorter_ends_the_last_stage() -> None:
    task = Plain(0.0)
    task.data = Stream(None, itertools.chain([100] * 5, [50]))
    callback = walked(Budget("val/accuracy", 0.1, rounds=2), task, epochs=6)
    assert len(callback.outcomes) == 3


@pytest.mark.filterwarnings("ignore:Length of IterableDataset", "ignore:Your `IterableDataset`")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stages_that_no_validation_could_end_are_said() -> None:
    """Announced as twice as long as they are, epochs have no end that Lightning validates at."""
    task = Plain(0.0)
    task.data = Stream(200, itertools.repeat(100))
    says = "the run ended with 0 of the 3 stages .* is the network that the training left"
    with pytest.warns(UserWarning, match=says):
        walked(Budget("val/accuracy", 0.1, rounds=2), task, epochs=6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_path_that_is_stopped_says_which_stages_are_missing() -> None:
    callback = L1Pruning(0.0, SparsityPath((0.5, 0.8)), prune_at=rounds(0.2, 0.6, 3))
    with pytest.warns(UserWarning, match="ended with 1 of the 2 stages of SparsityPath"):
        fit(Needy(), callback, Stop(6), epochs=8)


# ---- more epochs


class Stop(L.Callback):
    """Saves after an epoch, and stops."""

    def __init__(self, after: int, file: Path | None = None) -> None:
        self.after, self.file = after, file

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == self.after:
            trainer.should_stop = True
            if self.file:
                trainer.save_checkpoint(self.file)


@pytest.mark.parametrize("least", [0.0, 0.1, 0.5], ids=["last", "middle", "dense"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fit again", "resumed"])
@pytest.mark.filterwarnings("ignore:no smaller network keeps")
def test_a_finished_budget_that_is_trained_on_trains_its_answer_and_keeps_it(
    tmp_path: Path, least: float, resumed: bool
) -> None:
    def make() -> L1Pruning:
        return L1Pruning(0.0, Budget("val/accuracy", 0.1, rounds=2), prune_at=rounds(0.2, 0.6, 3))

    task, callback = Needy(least), make()
    run = fit(task, callback, Stop(8, tmp_path / "end.ckpt"), epochs=9)
    answer = {name: w.clone() for name, w in task.named_parameters()}
    outcomes = list(callback.outcomes)
    if resumed:
        task, callback = Needy(least), make()
        fit(task, callback, epochs=18, resume=tmp_path / "end.ckpt")
    else:
        run.fit_loop.max_epochs, run.should_stop = 18, False
        run.callbacks.pop()  # type: ignore[attr-defined]
        run.fit(task)
    assert callback.outcomes == outcomes and len(outcomes) == 3
    assert callback.arrived and callback.phase == "tune"
    for name, w in task.named_parameters():
        assert not torch.equal(w, answer[name])
        assert torch.equal((w == 0) & (answer[name] == 0), answer[name] == 0)
    # Its rate goes once more through the schedule.
    assert task.rates[-36:] == sorted(task.rates[-36:], reverse=True)
    assert task.rates[-36] == 0.01 and len(set(task.rates[-36:])) > 10


# ---- a plan of the user's own


class First(Plan):
    """Three stages, of which the first is the answer."""

    ends = (1 / 3, 2 / 3, 1.0)

    def __init__(self, goes_back: bool) -> None:
        self.goes_back = goes_back

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        return Sparsity((0.5, 0.8, 0.9)[min(len(outcomes), 2)])

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        return 0


class Alone:
    """The same, derived from no class of ours."""

    ends, gradual, scope = (1 / 3, 2 / 3, 1.0), True, None

    def __init__(self, goes_back: bool) -> None:
        self.goes_back = goes_back

    def threshold(self, outcomes: Sequence[Outcome]) -> Threshold | None:
        return Sparsity((0.5, 0.8, 0.9)[min(len(outcomes), 2)])

    def answer(self, outcomes: Sequence[Outcome]) -> int:
        return 0

    def check(self, counts: list[int], sizes: list[int]) -> None:
        return

    def check_metrics(self, metrics: dict[str, float]) -> None:
        return

    def left_out(self, targets: Any) -> dict[str, str]:
        return {}

    def shortfall(self, outcomes: Sequence[Outcome]) -> str | None:
        return f"{len(outcomes)} stages went by"


both = pytest.mark.parametrize("plan", [First, Alone])


@pytest.mark.filterwarnings("ignore:3 stages went by")
@both
def test_an_answer_of_the_first_stage_takes_the_model_back_to_its_network(plan: Any) -> None:
    task = Needy(0.0)
    callback = walked(plan(goes_back=True), task)
    first, _ = task.seen[1:][2]  # validated after the third of nine epochs
    assert torch.equal(task.net[0].weight, first)
    assert callback.report and callback.report.nonzero == 150
    assert sum(int((~mask).sum()) for mask in callback.masks.values()) == 150


@pytest.mark.filterwarnings("ignore:3 stages went by")
@both
def test_of_a_plan_that_does_not_go_back_the_last_network_stays(plan: Any) -> None:
    task = Needy(0.0)
    callback = walked(plan(goes_back=False), task)
    last, _ = task.seen[-1]
    assert torch.equal(task.net[0].weight, last)
    assert callback.report and callback.report.sparsity == 0.9
    assert [outcome["sparsity"] for outcome in callback.outcomes] == [0.5, 0.8, 0.9]


@pytest.mark.filterwarnings("ignore:3 stages went by")
@both
@pytest.mark.parametrize("goes_back", [True, False])
def test_a_stage_begins_with_the_answer_so_far_where_the_plan_goes_back(
    plan: Any, goes_back: bool
) -> None:
    """At its first step nothing of the stage has been cut: its zeros are those it began with."""
    callback, begun = L1Pruning(0.0, plan(goes_back), prune_at=once(0.5)), []

    class Look(L.Callback):
        def on_before_zero_grad(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step in (12, 24):  # of 36 steps in three stages
                begun.append(sum(int((~mask).sum()) for mask in callback.masks.values()))

    fit(Needy(0.0), callback, Look(), epochs=9)
    assert begun == ([150, 150] if goes_back else [150, 240])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_a_plan_has_to_say_at_the_end_is_said() -> None:
    with pytest.warns(UserWarning, match="3 stages went by"):
        walked(Alone(goes_back=False), Needy(0.0))


# ---- what is refused


@pytest.mark.parametrize(
    ("threshold", "options", "says"),
    [
        (SparsityPath(), {"epochs": 3}, "each of its 7 stages ends with a validation"),
        (SparsityPath((0.5, 0.9)), {"limit_val_batches": 0}, "has no validation"),
        (Budget("val/acc", 0.1, rounds=1), {}, "monitor='val/acc' is not among .*val/accuracy"),
        (SparsityPath((0.5, 0.9999)), {}, "sparsity 0.9999 leaves 0 weights"),
    ],
)
def test_what_cannot_be_walked_is_refused_before_training(
    threshold: Any, options: dict[str, Any], says: str
) -> None:
    task = Needy()
    with pytest.raises(ValueError, match=says):
        walked(threshold, task, **options)
    assert not task.rates


def test_a_budget_goes_without_averages() -> None:
    callback = L1Pruning(0.0, Budget("val/accuracy", 0.1, rounds=2), prune_at=once(0.5))
    with pytest.raises(ValueError, match="StochasticWeightAveraging does not follow"):
        fit(Needy(), callback, StochasticWeightAveraging(0.01), epochs=9)


def test_steps_do_not_tell_where_in_a_stage_to_cut() -> None:
    with pytest.raises(ValueError, match="shares of each stage"):
        fit(Needy(), L1Pruning(0.0, SparsityPath((0.5, 0.8)), prune_at=once(4)), epochs=9)


def test_a_plain_run_is_one_stage_as_long_as_it_is() -> None:
    from l1prune.cuts.plans import as_plan

    walk = Stages(as_plan(0.1))
    assert [walk.within(done) for done in (0.0, 0.3, 1.0)] == [0.0, 0.3, 1.0]
    assert not walk.waits
