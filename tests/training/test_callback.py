"""L1Pruning walks a Trainer through pressure, cut and fine-tuning."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from tasks import Task, fit, trainer
from torch import Tensor

from l1prune import (
    L1,
    L2,
    ByPasses,
    L1Pruning,
    OptimizerMetric,
    Proximal,
    Refit,
    Sparsity,
    Subgradient,
    Wanda,
    once,
    rounds,
)
from l1prune.pressure.schedules import Constant, Linear
from l1prune.training.follow import Follow


class Watched(Task):
    """Writes down the zeros, the strength and the phase before each step."""

    def __init__(self, callback: L1Pruning) -> None:
        super().__init__()
        self.callback = callback
        self.seen: list[tuple[int, float, str]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        zeros = sum(int((layer.weight == 0).sum()) for layer in (self.net[0], self.net[2]))
        self.seen.append((zeros, self.callback.strength, self.callback.phase))
        return super().training_step(batch, batch_idx)


def watched(callback: L1Pruning, **options: Any) -> Watched:
    task = Watched(callback)
    fit(task, callback, **options)
    return task


def test_three_phases_in_one_run() -> None:
    callback = L1Pruning(Constant(0.01), Sparsity(0.8), prune_at=once(0.5))
    seen = watched(callback).seen
    assert [phase for _, _, phase in seen] == ["press"] * 10 + ["tune"] * 10
    assert all(strength == 0.01 for _, strength, _ in seen[:10])
    assert all(strength == 0.0 for _, strength, _ in seen[10:])
    assert all(zeros == 240 for zeros, _, _ in seen[10:])
    assert callback.report is not None
    assert (callback.report.nonzero, callback.report.prunable) == (60, 300)


def test_the_defaults_do_something_sensible_on_any_module() -> None:
    callback = L1Pruning()
    task = watched(callback, epochs=10)
    assert callback.report is not None
    assert callback.report.sparsity == 0.95
    assert all(layer.nonzero > 0 for layer in callback.report.layers)
    assert 0 < task.seen[6][0] < task.seen[15][0] < 285  # little by little
    assert [zeros for zeros, _, _ in task.seen[30:]] == [285] * 20


def test_an_optimizer_of_unknown_metric_is_pressed_all_the_same() -> None:
    class Other(Task):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adadelta(self.parameters(), lr=0.1)

    pressed, free = (L1Pruning(prune_at=once(0.8), strength=s) for s in (1.0, 0.0))
    sizes = []
    for callback in (pressed, free):
        task = Other()
        fit(task, callback)
        assert callback.report is not None and callback.report.sparsity == 0.95
        sizes.append(sum(float(w.detach().abs().sum()) for w in task.parameters()))
    assert sizes[0] < sizes[1]


def test_the_default_presses_in_the_metric_of_the_optimizer() -> None:
    default, named = Task(), Task()
    fit(default, L1Pruning())
    form, cuts = Proximal(OptimizerMetric(limit=0.05)), rounds(0.1, 0.6, 50)
    fit(named, L1Pruning(ByPasses(1e-3, 3), form=form, prune_at=cuts))
    assert all(torch.equal(a, b) for a, b in zip(default.parameters(), named.parameters()))


def test_a_network_whose_gradients_are_small_is_not_emptied_by_the_default() -> None:
    """On a plateau any λ is large: a weight is pressed by a part of a step, and learns on."""
    warnings.simplefilter("ignore")  # without a limit all weights are gone, and that is said

    class Plateau(Task):
        def loss(self, batch: list[Tensor]) -> Tensor:
            return super().loss(batch) * 1e-5

    def largest(strength: ByPasses) -> float:
        task = Plateau()
        fit(task, L1Pruning(strength, Sparsity(0.5), prune_at=once(0.9)))
        return max(float(w.detach().abs().max()) for w in task.net.parameters() if w.dim() > 1)

    assert 10 * largest(ByPasses(passes=1, limit=math.inf)) < largest(ByPasses(passes=1))


def test_fine_tuning_keeps_one_mask_and_no_more() -> None:
    callback = L1Pruning(Follow(), Sparsity(0.9), prune_at=once(0.5))
    watched(callback)
    state = callback.state_dict()
    assert set(state["masks"]) == {"net.0.weight", "net.2.weight"}
    assert state["strength"]["spared"] == {}


def test_what_gradients_were_like_is_kept_until_the_last_cut() -> None:
    kept = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            kept.append(set(callback.state_dict()["criterion"]["state"]["fishers"]))

    callback = L1Pruning(threshold=Sparsity(0.9), prune_at=rounds(0.2, 0.6, 10))
    fit(Task(), callback, Look())
    both = {"net.0.weight", "net.2.weight"}
    assert kept == [set()] * 4 + [both] * 8 + [set()] * 8


def test_a_state_that_has_just_been_loaded_can_be_saved(tmp_path: Path) -> None:
    """As when a run is interrupted between its checkpoint and its first step."""
    saved = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            saved.append(copy.deepcopy(callback.state_dict()))

    def pruning() -> L1Pruning:
        return L1Pruning(threshold=Sparsity(0.9), prune_at=rounds(0.2, 0.6, 10))

    callback = pruning()
    fit(Task(), callback, Look())
    for state in saved:
        again = pruning()
        again.load_state_dict(state)
        repeated = again.state_dict()
        assert repeated["masks"].keys() == state["masks"].keys()
        fishers = [one["criterion"]["state"]["fishers"].keys() for one in (repeated, state)]
        assert fishers[0] == fishers[1]


def test_a_schedule_follows_the_progress_of_the_pressure_phase() -> None:
    seen = watched(L1Pruning(Linear(0.0, 1e-3), prune_at=once(0.5))).seen
    strengths = [strength for _, strength, _ in seen[:10]]
    assert strengths == pytest.approx([i / 10_000 for i in range(10)])


@pytest.mark.parametrize(
    ("prune_at", "step"), [(0.25, 5), (7, 7), (0.6, 12), ([0.3, 0.5, 0.7], 14), ([4, 8], 8)]
)
def test_the_last_cut_comes_exactly_when_it_is_due(prune_at: Any, step: int) -> None:
    seen = watched(L1Pruning(0.0, Sparsity(0.9), prune_at=prune_at)).seen
    assert [phase for _, _, phase in seen].index("tune") == step


def test_rounds_remove_more_each_time_and_only_add() -> None:
    callback = L1Pruning(0.0, Sparsity(0.9), prune_at=[0.25, 0.5, 0.75])
    zeros = [zeros for zeros, _, _ in watched(callback).seen]
    expected = [0.9 * (1 - (1 - i / 3) ** 3) for i in (1, 2, 3)]
    assert zeros[:5] == [0] * 5
    for first, share in zip((5, 10, 15), expected, strict=True):
        assert zeros[first : first + 5] == [pytest.approx(300 * share, abs=1)] * 5


def test_a_plain_number_cuts_below_it() -> None:
    callback = L1Pruning(0.0, threshold=0.1, prune_at=once(0.5))
    task = watched(callback)
    first = task.seen[10][0]
    assert 0 < first < 300
    assert [zeros for zeros, _, _ in task.seen[10:]] == [first] * 10


def test_the_model_stays_plain_and_its_optimizer_free() -> None:
    task = Task()
    before = [(name, id(parameter)) for name, parameter in task.named_parameters()]
    run = fit(task, L1Pruning())
    assert [(name, id(parameter)) for name, parameter in task.named_parameters()] == before
    assert list(task.state_dict()) == list(Task().state_dict())
    assert not run.optimizers[0]._optimizer_step_post_hooks


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_resumed_run_is_the_run_that_was_not_stopped(tmp_path: Path, epochs_done: int) -> None:
    def callbacks() -> list[L.Callback]:
        keep_all = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        return [L1Pruning(Follow(), Sparsity(0.9), prune_at=[0.4, 0.6]), keep_all]

    whole = Task()
    fit(whole, *callbacks())
    resumed, again = Task(), callbacks()
    path = tmp_path / f"epoch={epochs_done - 1}.ckpt"
    fit(resumed, *again, resume=path)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert again[0].report.sparsity == 0.9  # type: ignore[attr-defined]


def test_a_checkpoint_loads_into_the_bare_model_with_its_zeros(tmp_path: Path) -> None:
    run = fit(Task(), L1Pruning(threshold=Sparsity(0.9)))
    for weights_only in (True, False):
        run.save_checkpoint(tmp_path / "a.ckpt", weights_only=weights_only)
        bare = Task()
        bare.load_state_dict(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"])
        assert sum(int((bare.net[i].weight == 0).sum()) for i in (0, 2)) == 270


def test_counts_are_logged_with_the_validation_figures() -> None:
    seen: list[dict[str, float]] = []

    class Watch(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    fit(Task(), L1Pruning(0.01, Sparsity(0.9), prune_at=once(0.5)), Watch())
    logged = [m for m in seen if "params/nonzero" in m]
    assert [m["params/nonzero"] for m in logged][-2:] == [30, 30]
    assert logged[-1]["params/sparsity"] == pytest.approx(0.9)
    assert [m["prune/strength"] for m in logged] == pytest.approx([0.01, 0.01, 0, 0])
    assert all("val/loss" in m for m in logged)


def test_without_validation_counts_are_logged_at_the_end_of_an_epoch() -> None:
    run = fit(Task(), L1Pruning(0.01, Sparsity(0.9), prune_at=once(0.5)), limit_val_batches=0)
    assert run.callback_metrics["params/nonzero"] == 30


def test_a_layer_of_its_own_strength() -> None:
    targets = {"net.0": 1.0, "net.2": 0.0}
    callback = L1Pruning(1.0, 0.0, prune_at=once(0.5), targets=targets, form=Proximal())
    task = watched(callback)
    assert (task.net[0].weight == 0).any() and not (task.net[2].weight == 0).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("criterion", [None, Wanda(), Refit()], ids=str)
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD, torch.optim.Adadelta])
def test_it_can_be_copied_in_the_middle_of_a_run(make: Any, criterion: Any, copied: Any) -> None:
    twins: list[L1Pruning] = []

    class Late(L.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            """It may move weights."""

    class Copy(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            twins.append(copied(callback))
            assert twins[-1].strength == callback.strength and twins[-1].phase == callback.phase
            assert all(torch.equal(twins[-1].masks[n], m) for n, m in callback.masks.items())

    callback = L1Pruning(criterion=criterion)
    task = Task(optimizer=partial(make, lr=0.01))
    fit(task, callback, Copy(), Late(), epochs=2)
    again = Task()
    fit(again, twins[-2], epochs=2)  # nothing of the first hangs on it
    assert twins[-2].report and callback.report
    assert twins[-2].report.nonzero == callback.report.nonzero


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prune_at": 1.2}, "prune_at must be a share of the run between 0 and 1"),
        ({"prune_at": 0.0}, "prune_at"),
        ({"prune_at": 0}, "prune_at"),
        ({"prune_at": True}, "prune_at"),
        ({"prune_at": []}, "prune_at"),
        ({"prune_at": [0.5, 0.3]}, "rising"),
        ({"prune_at": [0.5, 3]}, "prune_at"),
        ({"prune_at": "late"}, "prune_at"),
        ({"strength": -1.0}, "strength must be"),
        ({"strength": float("nan")}, "strength must be"),
        ({"strength": "big"}, "strength must be"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": "high"}, "threshold"),
        ({"strength": Follow(), "threshold": 0.1}, "steers"),
        ({"strength": Follow(), "penalty": L2()}, "steers"),
        ({"strength": Follow(), "form": Subgradient()}, "steers"),
        ({"penalty": 3}, "penalty"),
        ({"targets": "net.0"}, "targets"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_at_once(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        L1Pruning(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prune_at": once(20)}, "does not fit a run of 20 steps"),
        ({"threshold": Sparsity(0.999)}, "lower the sparsity"),
        ({"targets": ["net.7"]}, "fits no weight"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_run_is_refused_before_the_first_step(
    arguments: dict[str, Any], says: str
) -> None:
    callback = L1Pruning(**arguments)
    task = Watched(callback)
    with pytest.raises(ValueError, match=says):
        fit(task, callback)
    assert task.seen == []


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_threshold_that_would_empty_a_layer_keeps_one_weight_and_says_so() -> None:
    callback = L1Pruning(0.0, threshold=1e3, prune_at=once(0.5))
    with pytest.warns(UserWarning, match=r"single weight of net\.0\.weight, net\.2\.weight"):
        watched(callback)
    assert callback.report is not None
    assert [layer.nonzero for layer in callback.report.layers] == [1, 1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_that_ends_before_its_cut_says_so() -> None:
    stop = EarlyStopping("val/loss", divergence_threshold=1e-9)
    with pytest.warns(UserWarning, match="ended before 1 of its cuts"):
        fit(Task(), L1Pruning(prune_at=once(0.9)), stop)


def test_an_exception_leaves_no_hook_behind() -> None:
    class StopError(Exception):
        pass

    class Stopping(Task):
        def on_train_batch_end(self, *_: Any) -> None:
            raise StopError

    callback, task = L1Pruning(), Stopping()
    run = trainer(callback)
    with pytest.raises(StopError):
        run.fit(task)
    assert not run.optimizers[0]._optimizer_step_post_hooks


def test_penalties_are_not_shared_through_a_mutable_default() -> None:
    assert L1Pruning().recipe.penalty == L1()
