"""Selection: no other callback undoes what the run is for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from tasks import Save, Task, fit
from torch import Tensor

from l1prune import Budget, L1Pruning, Sparsity, SparsityPath, once, rounds
from l1prune.training.selection import CHECKS, make_way_, patient

averaging = pytest.importorskip("lightning.pytorch.callbacks.weight_averaging")
EPOCHS = 10


class Scored(Task):
    """Its validation gives a score that was agreed on for each epoch, and what is left of it."""

    def __init__(self, scores: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.scores = scores

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("score", torch.tensor(self.scores[self.current_epoch]))
        self.log("left", torch.tensor(float(left(self.state_dict()))))


class Mine(EarlyStopping):
    """Of the user's own."""


class Kept(ModelCheckpoint):
    """Of the user's own."""


class SaveLast(Save, Checkpoint):
    """Saves when all other callbacks have had their turn."""


def left(state: dict[str, Tensor]) -> int:
    """How many of the 300 weights are not zero."""
    return sum(int(w.count_nonzero()) for w in state.values() if w.ndim == 2)


def left_in(file: str) -> int:
    return left(torch.load(file, weights_only=True)["state_dict"])


def half(**options: Any) -> L1Pruning:
    """Cuts half of the weights in epoch 5 of ten."""
    return L1Pruning(0.0, **{"threshold": Sparsity(0.5), "prune_at": once(0.5)} | options)


def better_each_time(start: float = 1.0) -> list[float]:
    return [start - 0.05 * epoch for epoch in range(40)]


# ---- early stopping


@pytest.mark.parametrize(
    ("make", "patience", "first"),
    [(EarlyStopping, 0, True), (EarlyStopping, 2, False), (Mine, 1, True)],
)
def test_patience_begins_with_the_last_cut(
    make: Callable[..., EarlyStopping], patience: int, first: bool
) -> None:
    stop, pruning = make("score", patience=patience), half()
    both = [pruning, stop] if first else [stop, pruning]
    fit(Scored([1.0] * EPOCHS), *both, epochs=EPOCHS)
    assert pruning.report is not None and pruning.report.nonzero == 150
    # Epoch 5 is the first to be seen, and the best.
    assert stop.stopped_epoch == 5 + max(patience, 1)
    assert (stop.patience, float(stop.best_score)) == (patience, 1.0)


def test_without_pruning_it_stops_as_ever() -> None:
    stop = EarlyStopping("score", patience=2)
    fit(Scored([1.0] * EPOCHS), stop, epochs=EPOCHS)
    assert stop.stopped_epoch == 2


def test_what_was_better_before_the_cut_is_forgotten() -> None:
    stop = EarlyStopping("score", patience=1)
    fit(Scored([*better_each_time()[:5], 3.0, 2.9, 2.8, 2.7, 2.6]), half(), stop, epochs=EPOCHS)
    assert stop.stopped_epoch == 0 and float(stop.best_score) == pytest.approx(2.6)


def test_a_cut_within_an_epoch_is_no_different() -> None:
    """Validated before the cut and after it, in the epoch in which it comes."""
    stop = EarlyStopping("left", patience=2, mode="max", check_on_train_epoch_end=False)
    cut = half(prune_at=once(0.55))
    fit(Scored([1.0] * EPOCHS), cut, stop, epochs=EPOCHS, val_check_interval=1)
    assert cut.phase == "tune" and float(stop.best_score) == 150.0


def test_a_threshold_that_the_dense_network_reaches_does_not_end_the_run() -> None:
    stop = EarlyStopping("score", stopping_threshold=0.5)
    pruning = half()
    fit(Scored([0.4] * EPOCHS), pruning, stop, epochs=EPOCHS)
    assert pruning.phase == "tune" and stop.stopped_epoch == 5
    assert stop.stopping_threshold == 0.5


@pytest.mark.filterwarnings("ignore:the run ended before")
@pytest.mark.parametrize(
    ("score", "options"), [(math.nan, {}), (math.inf, {}), (9.0, {"divergence_threshold": 8.0})]
)
def test_what_diverges_is_stopped_at_any_time(score: float, options: dict[str, Any]) -> None:
    stop, pruning = EarlyStopping("score", **options), half()
    fit(Scored([1.0, 1.0, score] + [1.0] * 7), pruning, stop, epochs=EPOCHS)
    assert stop.stopped_epoch == 2 and pruning.phase == "press"


@pytest.mark.parametrize(
    "plan",
    [SparsityPath((0.5, 0.8)), Budget("score", 9.0, False, rounds=2)],
    ids=["path", "budget"],
)
def test_stages_have_the_time_they_were_planned_for(plan: Any) -> None:
    stop, pruning = EarlyStopping("score", patience=1), half(threshold=plan)
    fit(Scored([1.0] * 18), pruning, stop, epochs=18)
    assert len(pruning.outcomes) == len(plan.ends) and stop.stopped_epoch == 0


@pytest.mark.parametrize("epochs_done", [3, 5, 7])
def test_a_resumed_run_stops_where_the_one_does_that_was_not_stopped(
    epochs_done: int, tmp_path: Path
) -> None:
    file, stop = tmp_path / "a.ckpt", EarlyStopping("score", patience=3)
    fit(Scored([1.0] * EPOCHS), half(), stop, SaveLast(file, epochs_done), epochs=EPOCHS)
    again = EarlyStopping("score", patience=3)
    fit(Scored([1.0] * EPOCHS), half(), again, resume=file, epochs=EPOCHS)
    assert again.state_dict() == stop.state_dict() and stop.stopped_epoch == 8


def test_afterwards_others_are_as_they_were(tmp_path: Path) -> None:
    stop, keep = EarlyStopping("score"), ModelCheckpoint(tmp_path, monitor="score")
    fit(Scored([1.0] * EPOCHS), half(), stop, keep, epochs=EPOCHS)
    assert not {*CHECKS, "check_monitor_top_k"} & (vars(stop).keys() | vars(keep).keys())

    class Fails(Scored):
        def on_train_epoch_end(self) -> None:
            raise RuntimeError("a disk is full")

    with pytest.raises(RuntimeError, match="a disk is full"):
        fit(Fails([1.0] * EPOCHS), half(), stop, keep, epochs=EPOCHS)
    assert not {*CHECKS, "check_monitor_top_k"} & (vars(stop).keys() | vars(keep).keys())


def test_within_a_check_that_fails_patience_comes_back() -> None:
    stop = EarlyStopping("score", patience=4, mode="max", stopping_threshold=0.9)
    with pytest.raises(KeyError), patient(stop):
        raise KeyError
    assert (stop.patience, stop.stopping_threshold, float(stop.best_score)) == (4, 0.9, -math.inf)


def test_callbacks_of_the_module_are_seen_too() -> None:
    class Brings(Scored):
        def configure_callbacks(self) -> EarlyStopping:
            return stop

    stop, pruning = EarlyStopping("score", patience=1), half()
    fit(Brings([1.0] * EPOCHS), pruning, epochs=EPOCHS)
    assert pruning.phase == "tune" and stop.stopped_epoch == 6


# ---- checkpoints


@pytest.mark.parametrize(
    ("make", "mode", "keep"),
    [
        (ModelCheckpoint, "min", 1),
        (Kept, "max", 2),
        (ModelCheckpoint, "max", 3),
        (Kept, "min", -1),
    ],
)
def test_the_best_is_among_those_that_have_arrived(
    keep: int, mode: str, make: Callable[..., ModelCheckpoint], tmp_path: Path
) -> None:
    saves = make(tmp_path, monitor="score", mode=mode, save_top_k=keep, filename="{epoch}")
    scores = [0.1, 0.2, 0.1, 0.2, 0.1, 3.0, 2.0, 5.0, 4.0, 2.5]  # those after the cut are worse
    sign = 1 if mode == "min" else -1
    fit(Scored([sign * score for score in scores]), saves, half(), epochs=EPOCHS)
    best = {1: [6], 2: [6, 9], 3: [5, 6, 9], -1: [5, 6, 7, 8, 9]}[keep]
    assert saves.best_model_path.endswith("epoch=6.ckpt")
    assert float(saves.best_model_score or 0) == sign * 2.0
    assert sorted(Path(file).stem for file in saves.best_k_models) == [f"epoch={e}" for e in best]
    assert {left_in(file) for file in saves.best_k_models} == {150}
    files = range(EPOCHS) if keep == -1 else best
    assert sorted(file.stem for file in tmp_path.iterdir()) == [f"epoch={e}" for e in files]


def test_until_then_there_are_files_to_go_on_from(tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, monitor="score", filename="{epoch}")
    found: list[list[str]] = []

    class Look(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            found.append(sorted(file.stem for file in tmp_path.iterdir()))

    fit(Scored(better_each_time()), half(), saves, Look(), epochs=EPOCHS)
    assert found == [[], *([f"epoch={e}"] for e in range(EPOCHS - 1))]


def test_what_no_network_came_to_replace_is_not_among_the_best_and_stays_on_the_disk(
    tmp_path: Path,
) -> None:
    saves = ModelCheckpoint(tmp_path, monitor="score", save_top_k=3, filename="{epoch}")
    late = half(prune_at=once(0.85))
    fit(Scored(better_each_time()), late, saves, epochs=EPOCHS)
    assert [Path(file).stem for file in saves.best_k_models] == ["epoch=8", "epoch=9"]
    assert {file.stem for file in tmp_path.iterdir()} == {"epoch=7", "epoch=8", "epoch=9"}


def test_a_best_from_before_the_cut_is_said_where_no_other_was_saved(tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, monitor="score", every_n_epochs=5)
    with pytest.raises(UserWarning, match=r"monitor='score'\) saved no network after the last cut"):
        fit(Scored([1.0] * 9), half(prune_at=once(0.6)), saves, epochs=9)


def test_a_figure_from_before_the_cut_is_not_taken_for_that_of_the_network_after_it(
    tmp_path: Path,
) -> None:
    """Saved every few steps, by what the last validation found: which was before the cut."""
    saves = ModelCheckpoint(tmp_path, monitor="score", every_n_train_steps=2, filename="{epoch}")
    scores = [*[0.1] * 5, 2.0, 1.0, *[3.0] * 3]
    fit(Scored(scores), half(), saves, epochs=EPOCHS)
    assert left_in(saves.best_model_path) == 150 and float(saves.best_model_score or 0) == 1.0


def test_a_training_metric_is_judged_without_validation(tmp_path: Path) -> None:
    class Training(Task):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
            self.log("train/score", float(self.current_epoch))
            return super().training_step(batch, batch_idx)

    saves = ModelCheckpoint(tmp_path, monitor="train/score")
    fit(Training(), half(), saves, epochs=EPOCHS, limit_val_batches=0)
    assert left_in(saves.best_model_path) == 150 and float(saves.best_model_score or 0) == 5.0


def test_the_last_stage_of_a_path_counts(tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, monitor="score", save_top_k=2)
    path = half(threshold=SparsityPath((0.5, 0.8)))
    fit(Scored([0.1 * epoch for epoch in range(18)]), path, saves, epochs=18)
    assert [left_in(file) for file in saves.best_k_models] == [60, 60]


def test_the_answer_of_a_budget_counts(tmp_path: Path) -> None:
    """The second round is too bad, though its network is smaller."""
    saves = ModelCheckpoint(tmp_path, monitor="score", save_top_k=2, filename="{epoch}")
    budget = half(threshold=Budget("score", 0.5, False, rounds=2))
    fit(Scored([*[0.1] * 6, *[0.5] * 6, *[5.0] * 6]), budget, saves, epochs=18)
    assert budget.report is not None and budget.report.nonzero == 75
    assert left_in(saves.best_model_path) == 75
    assert [Path(file).stem for file in saves.best_k_models] == ["epoch=11"]


@pytest.mark.parametrize(
    ("plan", "epochs_done"),
    [({}, 3), ({}, 5), ({}, 7), ({"threshold": SparsityPath((0.5, 0.8))}, 8)],
)
def test_a_resumed_run_keeps_what_the_one_keeps_that_was_not_stopped(
    plan: dict[str, Any], epochs_done: int, tmp_path: Path
) -> None:
    def saved() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / "best", monitor="score", save_top_k=2, filename="{epoch}")

    scores, file = [0.1, 0.2, 0.1, 0.2, 0.1, 3.0, 2.0, 5.0, 4.0, 2.5], tmp_path / "a.ckpt"
    whole, again = saved(), saved()
    fit(Scored(scores), half(**plan), whole, SaveLast(file, epochs_done), epochs=EPOCHS)
    fit(Scored(scores), half(**plan), again, resume=file, epochs=EPOCHS)
    kept = [
        {Path(file).stem.partition("-")[0]: float(v) for file, v in one.best_k_models.items()}
        for one in (whole, again)
    ]
    assert kept[0] == kept[1] and 0 < len(kept[0]) <= 2


def test_to_make_way_is_to_be_worse_than_anything(tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, monitor="score", mode="max", save_top_k=2)
    saves.best_k_models = {"a": torch.tensor(0.9), "b": torch.tensor(0.8)}
    make_way_(saves)
    assert {float(score) for score in saves.best_k_models.values()} == {-math.inf}


# ---- averages, and the learning rate


class Mean(averaging.WeightAveraging):  # type: ignore[misc]
    """The plain mean of the networks after each step."""


@pytest.mark.parametrize("first", [True, False], ids=["average first", "pruning first"])
def test_an_average_is_of_networks_after_the_last_cut(first: bool) -> None:
    networks: list[Tensor] = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
            networks.append(pl_module.net[0].weight.detach().clone())

    both: list[L.Callback] = [Mean(), half()] if first else [half(), Mean()]
    task = Task()
    fit(task, *both, Look(), epochs=4)
    assert len(networks) == 20
    torch.testing.assert_close(task.net[0].weight.data, torch.stack(networks[10:]).mean(0))


def test_stochastic_averaging_begins_anew_with_the_last_cut() -> None:
    starts: list[Tensor] = []

    class Look(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            starts.append(pl_module.net[0].weight.detach().clone())

    task, swa = Task(), StochasticWeightAveraging(0.01, swa_epoch_start=1, annealing_epochs=1)
    fit(task, swa, half(prune_at=once(0.45)), Look(), epochs=EPOCHS)
    torch.testing.assert_close(task.net[0].weight.data, torch.stack(starts[5:]).mean(0))


def test_stochastic_averaging_of_what_comes_too_late_is_said_before_training() -> None:
    task, swa = Task(), StochasticWeightAveraging(0.01, swa_epoch_start=1, annealing_epochs=1)
    with pytest.raises(UserWarning, match="none of the 4 starts after the last cut"):
        fit(task, swa, half(prune_at=once(0.8)), epochs=4)
    assert not task.losses


def test_a_plateau_before_the_cut_is_none_after_it() -> None:
    class Plateau(Scored):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": "score"},
            }

    scores = [*better_each_time()[:5], 3.0, 2.9, 2.8, 2.7, 2.6]
    dense, pruned = Plateau(scores, batch_size=50), Plateau(scores, batch_size=50)
    rates = [
        fit(task, *callbacks, epochs=EPOCHS).optimizers[0].param_groups[0]["lr"]
        for task, callbacks in ((dense, ()), (pruned, (half(),)))
    ]
    assert rates == [pytest.approx(0.1), 1.0]


# ---- others


class Best(L.Callback):
    """Chooses by itself."""

    def __init__(self) -> None:
        self.best_score = 0.0


def test_who_keeps_a_best_of_its_own_is_named_before_training() -> None:
    task = Task()
    with pytest.raises(UserWarning, match=r"Best keeps a best of its own.*while `arrived` of"):
        fit(task, Best(), half(), epochs=2)
    assert not task.losses


def test_a_smoke_test_goes_through_it(tmp_path: Path) -> None:
    callbacks = (EarlyStopping("score"), ModelCheckpoint(tmp_path, monitor="score"))
    pruning = half(prune_at=rounds(0.2, 0.6, 3))
    fit(Scored([1.0]), pruning, *callbacks, fast_dev_run=True)
    assert pruning.report is not None and pruning.report.nonzero == 150
