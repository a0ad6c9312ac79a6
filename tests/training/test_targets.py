"""Weights that come later take part in what is still to come, or are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning
from tasks import trainer
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader

from l1prune import Budget, Follow, GroupL1, L1Pruning, Sparsity, SparsityPath, once
from l1prune.cuts.masks import Masks
from l1prune.training.targets import RunTargets


class Task(L.LightningModule):
    """A backbone and a head, of which only the head may train at first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = nn.Sequential(nn.Linear(8, 64)), nn.Linear(64, 8)

    def training_step(self, x: Tensor, i: int) -> Tensor:
        return (self.head(self.backbone(x)) - x).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([w for w in self.parameters() if w.requires_grad], lr=0.01)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.randn(160, 8, generator=torch.Generator().manual_seed(1)), 8)


class Replace(L.Callback):
    """Gives the model another head when an epoch begins."""

    def __init__(self, epoch: int, outputs: int = 8) -> None:
        self.epoch, self.outputs = epoch, outputs

    def on_train_epoch_start(self, trainer: L.Trainer, module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            module.head = nn.Linear(64, self.outputs)
            trainer.optimizers[0].add_param_group({"params": module.head.parameters()})


def fit(
    task: Task, *callbacks: L.Callback, file: Path | None = None, epochs: int = 6
) -> tuple[L1Pruning, list[str], L.Trainer]:
    pruning = next((c for c in callbacks if isinstance(c, L1Pruning)), None)
    order = list(callbacks)
    if pruning is None:
        pruning = L1Pruning()
        order.append(pruning)
    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", barebones=True, callbacks=order)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.fit(task, ckpt_path=file, weights_only=True if file else None)
    return pruning, [str(one.message) for one in told], trainer


def zeros(weight: Tensor) -> int:
    return int((weight == 0).sum())


@pytest.mark.parametrize("first", [True, False], ids=["listed first", "listed last"])
def test_a_backbone_that_is_unfrozen_is_pruned_with_the_rest(first: bool) -> None:
    task, pruning, unfreeze = Task(), L1Pruning(), BackboneFinetuning(1, verbose=False)
    order = [pruning, unfreeze] if first else [unfreeze, pruning]
    fit(task, *order)
    assert pruning.report is not None
    assert [layer.name for layer in pruning.report.layers] == ["backbone.0.weight", "head.weight"]
    assert pruning.report.sparsity >= 0.95
    assert zeros(task.backbone[0].weight) == int((~pruning.masks["backbone.0.weight"]).sum()) > 256


@pytest.mark.parametrize(
    "options",
    [
        {"targets": ["backbone.0", "head"]},
        {"targets": {"backbone.*": 2.0, "*": 1.0}},
        {"targets": ["backbone.*"]},
        {"targets": ["backbone.*"], "strength": Follow()},
        {"threshold": Sparsity(0.97, floor=5)},
    ],
    ids=str,
)
def test_what_is_to_be_unfrozen_may_be_named_and_is_reckoned_with(options: Any) -> None:
    """Of the head alone 97 % could not go: 16 of its weights would be left."""
    task, pruning = Task(), L1Pruning(**options)
    if "threshold" in options:
        task.head = nn.Linear(64, 1)
        task.training_step = lambda x, batch_idx: task.head(task.backbone(x)).square().mean()  # type: ignore[method-assign]
    fit(task, pruning, BackboneFinetuning(2, verbose=False))
    assert pruning.report is not None and pruning.report.sparsity >= 0.95
    assert zeros(task.backbone[0].weight) > 256


def test_what_is_frozen_and_stays_so_cannot_be_named() -> None:
    task = Task()
    task.backbone.requires_grad_(False)
    with pytest.raises(ValueError, match=r"backbone\.0\.weight: frozen"):
        fit(task, L1Pruning(targets=["backbone.0", "head"]))


def test_what_was_a_target_before_the_run_was_stopped_and_is_none_any_more_is_named(
    tmp_path: Path,
) -> None:
    """Resumed, Lightning leaves a backbone frozen that it had unfrozen in an earlier epoch."""

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "stop.ckpt")

    order = (L1Pruning(prune_at=once(0.6)), BackboneFinetuning(1, verbose=False))
    _, said, _ = fit(Task(), *order, Save(), epochs=6)
    assert not any("before the run was stopped" in one for one in said)
    order = (L1Pruning(prune_at=once(0.6)), BackboneFinetuning(1, verbose=False))
    _, said, _ = fit(Task(), *order, file=tmp_path / "stop.ckpt", epochs=6)
    names = [one for one in said if "was to be pruned before the run was stopped" in one]
    assert len(names) == 1 and "backbone.0.weight" in names[0] and "frozen" in names[0]


def test_what_is_unfrozen_after_the_last_cut_is_named_and_stays() -> None:
    task = Task()
    _, said, _ = fit(task, BackboneFinetuning(5, verbose=False))
    assert any("backbone.0.weight joined the training after the last cut" in one for one in said)
    assert zeros(task.backbone[0].weight) == 0


@pytest.mark.parametrize("outputs", [8, 4])
def test_a_head_that_is_replaced_is_the_one_that_is_cut_and_counted(outputs: int) -> None:
    task = Task()
    if outputs != 8:
        task.training_step = lambda x, batch_idx: task.head(task.backbone(x)).square().mean()  # type: ignore[method-assign]
    pruning, _, _ = fit(task, Replace(1, outputs))
    left = int(task.head.weight.count_nonzero() + task.backbone[0].weight.count_nonzero())
    assert pruning.report is not None
    assert pruning.report.nonzero == left <= 0.05 * 64 * (8 + outputs)
    assert pruning.masks["head.weight"].shape == (outputs, 64)


def test_a_head_that_is_replaced_after_the_last_cut_is_counted_as_it_is() -> None:
    task = Task()
    pruning, said, _ = fit(task, Replace(5))
    assert any("head.weight joined the training after the last cut" in one for one in said)
    assert pruning.report is not None
    head = next(layer for layer in pruning.report.layers if layer.name == "head.weight")
    assert head.nonzero == int(task.head.weight.count_nonzero()) == 512


def test_what_no_optimizer_moves_is_left_alone_and_said() -> None:
    class Taught(Task):
        """With a teacher inside that nobody trains, though it could be."""

        def __init__(self) -> None:
            super().__init__()
            self.teacher = nn.Linear(8, 8)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam([*self.backbone.parameters(), *self.head.parameters()])

    task = Taught()
    before = task.teacher.weight.detach().clone()
    pruning, said, _ = fit(task)
    assert torch.equal(task.teacher.weight, before)
    assert any("no optimizer moves teacher.weight: left alone" in one for one in said)
    assert pruning.report is not None
    assert pruning.report.skipped["teacher.weight"] == "no optimizer moves it"


def test_experts_that_no_module_calls_a_weight_are_pruned_each_as_a_layer_and_it_is_said() -> None:
    class Mixture(Task):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(8, 4)
            self.down_proj = nn.Parameter(torch.randn(4, 8, 8) / 3)

        def training_step(self, x: Tensor, i: int) -> Tensor:
            experts = torch.einsum("be,eio,bi->bo", self.gate(x).softmax(1), self.down_proj, x)
            return (experts - x).square().mean() + super().training_step(x, i)

    task = Mixture()
    pruning, said, _ = fit(task)
    assert any("down_proj" in one and "stack of matrices" in one for one in said)
    assert pruning.report is not None
    assert pruning.report.sparsity >= 0.95
    assert zeros(task.down_proj) > 128
    # Each expert keeps the unit that every layer keeps.
    assert all(bool(expert.any()) for expert in task.down_proj)


def test_a_layer_outside_the_loss_keeps_its_share_and_no_more() -> None:
    class Idle(Task):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Linear(64, 64)

    pruning, _, _ = fit(Idle(), epochs=20)
    assert pruning.report is not None
    left = {layer.name: layer for layer in pruning.report.layers}
    share = left["idle.weight"].nonzero / pruning.report.nonzero
    assert 0 < share <= left["idle.weight"].total / pruning.report.prunable


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_after_weights_have_joined_it_has_their_masks(tmp_path: Path, stop: int) -> None:
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == stop - 1:
                trainer.save_checkpoint(tmp_path / "stop.ckpt")

    fit(Task(), BackboneFinetuning(1, verbose=False), Save())
    saved = torch.load(tmp_path / "stop.ckpt", weights_only=True)["callbacks"]["L1Pruning"]
    again = Task()
    pruning, _, _ = fit(again, BackboneFinetuning(1, verbose=False), file=tmp_path / "stop.ckpt")
    assert pruning.phase == "tune"
    assert set(saved["masks"]) <= set(pruning.masks)
    assert pruning.report is not None
    left = sum(int(w.count_nonzero()) for n, w in again.named_parameters() if n in pruning.masks)
    assert pruning.report.nonzero == left


def test_what_joins_and_cannot_be_cut_stays_dense_and_the_rest_is_cut_as_before() -> None:
    class Large(Task):
        """A layer joins whose rows are so large that one of them is more than may stay."""

        def on_train_epoch_start(self) -> None:
            if self.trainer.current_epoch == 2:
                self.wide = nn.Linear(2000, 1)
                added = {"params": list(self.wide.parameters())}
                self.trainer.optimizers[0].add_param_group(added)

    task, pruning = Large(), L1Pruning(penalty=GroupL1(), threshold=Sparsity(0.8))
    _, said, _ = fit(task, pruning)
    assert any("its new weights are left alone" in one for one in said)
    assert pruning.report is not None
    assert 0.8 <= pruning.report.sparsity < 0.9


def test_a_weight_keeps_its_mask_under_another_name() -> None:
    class Wrapped(Task):
        def on_train_epoch_start(self) -> None:
            if self.trainer.current_epoch == 5:
                self.head = nn.Sequential(self.head)  # type: ignore[assignment]

    task = Wrapped()
    pruning, _, _ = fit(task)
    weight = task.head[0].weight  # type: ignore[index]
    assert zeros(weight) == int((~pruning.masks["head.0.weight"]).sum()) > 256


def test_weights_that_take_the_place_of_others_in_an_optimizer_are_found() -> None:
    class Swapped(Task):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.backbone.parameters(), lr=0.01)

        def on_train_epoch_start(self) -> None:
            if self.trainer.current_epoch == 1:
                group = self.trainer.optimizers[0].param_groups[0]
                group["params"] = list(self.head.parameters())

    task = Swapped()
    pruning, _, _ = fit(task)
    assert zeros(task.head.weight) == int((~pruning.masks["head.weight"]).sum()) > 256
    assert zeros(task.backbone[0].weight) > 0  # what was cut before stays so


@pytest.mark.parametrize("options", [{"rewind": 0.2}, {"threshold": SparsityPath((0.5, 0.9))}])
def test_learning_rates_that_are_planned_leave_out_groups_that_join(options: Any) -> None:
    class Validated(Task):
        def validation_step(self, x: Tensor, i: int) -> None:
            self.log("val/accuracy", -self.training_step(x, i))

        val_dataloader = Task.train_dataloader

    task, pruning = Validated(), L1Pruning(**options)
    trainer(pruning, BackboneFinetuning(1, verbose=False), epochs=10).fit(task)
    assert zeros(task.backbone[0].weight) > 0


def test_a_new_layer_that_no_optimizer_moves_is_named_and_not_cut() -> None:
    class Forgotten(Task):
        def on_train_epoch_start(self) -> None:
            if self.trainer.current_epoch == 3:
                self.head = nn.Linear(64, 8)

    task = Forgotten()
    _, said, _ = fit(task)
    assert any("no optimizer moves head.weight now" in one for one in said)
    assert zeros(task.head.weight) == 0


def test_a_run_that_is_over_before_pruning_begins_says_so(tmp_path: Path) -> None:
    dense = L.Trainer(max_epochs=2, accelerator="cpu", barebones=True)
    dense.fit(Task())
    dense.save_checkpoint(tmp_path / "dense.ckpt")
    _, said, _ = fit(Task(), file=tmp_path / "dense.ckpt", epochs=2)
    assert any("over before pruning began" in one for one in said)


# ---- a weight that was cut keeps its zeros, whatever becomes of its layer


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


def wrapped(task: Any) -> None:
    task.head = Wrapper(task.head)


def replaced(task: Any) -> None:
    task.head = nn.Linear(64, 8)
    task.trainer.optimizers[0].add_param_group({"params": task.head.parameters()})


CHANGES: dict[str, Callable[[Any], Any]] = {
    "wrapped": wrapped,
    "compiled": lambda task: setattr(task, "head", torch.compile(task.head, backend="eager")),
    "spectral norm": lambda task: parametrizations.spectral_norm(task.head),
    "torch's own pruning": lambda task: prune.l1_unstructured(task.head, "weight", 0.5),
    "frozen": lambda task: task.head.requires_grad_(False),
}


class Changed(Task):
    """Changes its head when an epoch begins, and notes the zeros that each forward pass sees."""

    def __init__(self, change: Callable[[Any], Any], epoch: int) -> None:
        super().__init__()
        self.change, self.epoch = change, epoch
        self.held, self.seen = [self.head.weight], list[int]()

    @property
    def weight(self) -> Tensor:
        """Of the head that it began with."""
        return self.held[0]

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == self.epoch:
            self.change(self)

    def training_step(self, x: Tensor, i: int) -> Tensor:
        self.seen.append(zeros(self.weight))
        return super().training_step(x, i)


@pytest.mark.parametrize("rules", [None, ["backbone.0", "head"]], ids=["all", "by name"])
@pytest.mark.parametrize("epoch", [2, 5], ids=["between cuts", "after the last"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_weight_that_was_cut_stays_a_target_whatever_becomes_of_its_layer(
    kind: str, epoch: int, rules: Any
) -> None:
    task, pruning = Changed(CHANGES[kind], epoch), L1Pruning(targets=rules)
    fit(task, pruning)
    (name,) = (name for name, w in task.named_parameters() if w is task.weight)
    assert set(pruning.masks) == {"backbone.0.weight", name}
    assert zeros(task.weight) >= int((~pruning.masks[name]).sum()) > 256
    assert task.seen == sorted(task.seen)
    assert pruning.report is not None
    left = task.backbone[0].weight.count_nonzero() + task.weight.count_nonzero()
    assert pruning.report.nonzero == left <= 0.05 * pruning.report.prunable


def test_where_zeros_are_stored_but_not_promised_for_the_layer_is_said_once() -> None:
    _, said, _ = fit(Changed(CHANGES["spectral norm"], 3))
    told = [one for one in said if "head.parametrizations.weight.original is parametrized" in one]
    assert len(told) == 1


def test_what_was_to_be_pruned_and_is_parametrized_before_a_cut_is_named() -> None:
    _, said, _ = fit(Changed(CHANGES["spectral norm"], 0))
    assert any("weight.original was to be pruned, and is left alone now" in one for one in said)


@pytest.mark.parametrize("epoch", [2, 5])
def test_what_left_the_model_is_not_counted_and_it_is_said(epoch: int) -> None:
    class Renamed(Task):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == epoch:
                self.last = nn.Linear(64, 8)
                self.trainer.optimizers[0].add_param_group({"params": self.last.parameters()})
                del self.head

        def training_step(self, x: Tensor, i: int) -> Tensor:
            head = self.last if hasattr(self, "last") else self.head
            return (head(self.backbone(x)) - x).square().mean()

    pruning = L1Pruning(targets=["backbone.0", "head"])
    _, said, _ = fit(Renamed(), pruning)
    assert any("head.weight left the model" in one for one in said)
    assert any("its new weights are left alone" in one for one in said)
    assert pruning.report is not None
    assert [layer.name for layer in pruning.report.layers] == ["backbone.0.weight"]
    assert set(pruning.masks) == {"backbone.0.weight"}


@pytest.mark.parametrize("fits", [True, False], ids=["taken in", "refused"])
def test_what_is_saved_of_a_new_head_is_the_new_head(tmp_path: Path, fits: bool) -> None:
    """Saved before the run has looked again; the file has no mask for it either."""

    class Late(Task):
        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 3:
                replaced(self)
                self.fresh = self.head.weight.detach().clone()
                self.trainer.save_checkpoint(tmp_path / "late.ckpt")
                assert torch.equal(self.head.weight, self.fresh)

        def on_train_end(self) -> None:
            if not fits:
                self.head = nn.Linear(64, 8)

    task, pruning = Late(), L1Pruning()
    _, _, run = fit(task, pruning)
    saved = torch.load(tmp_path / "late.ckpt", weights_only=True)
    assert torch.equal(saved["state_dict"]["head.weight"], task.fresh)
    assert set(saved["callbacks"]["L1Pruning"]["masks"]) == {"backbone.0.weight"}
    before = task.head.weight.detach().clone()
    run.save_checkpoint(tmp_path / "end.ckpt")
    assert torch.equal(task.head.weight, before)


def test_a_weight_that_takes_the_place_of_another_within_an_epoch_is_found() -> None:
    """It has the other's place in the optimizer's group, and its size."""

    class Swapped(Task):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if (self.current_epoch, batch_idx) == (0, 50):
                old, self.head = self.head, nn.Linear(64, 8)
                (group,) = self.trainer.optimizers[0].param_groups
                new = dict(zip(map(id, old.parameters()), self.head.parameters(), strict=True))
                group["params"] = [new.get(id(w), w) for w in group["params"]]

        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(super().train_dataloader().dataset, 1)

    task, pruning = Swapped(), L1Pruning()
    fit(task, pruning, epochs=1)
    assert pruning.report is not None
    left = task.backbone[0].weight.count_nonzero() + task.head.weight.count_nonzero()
    assert pruning.report.nonzero == left <= 0.05 * pruning.report.prunable


def test_what_joins_in_one_stage_and_is_cut_in_the_next_is_not_said_to_stay_dense() -> None:
    class Validated(Task):
        def validation_step(self, x: Tensor, i: int) -> None:
            self.log("val/accuracy", -self.training_step(x, i))

        val_dataloader = Task.train_dataloader

        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 5:  # of the first stage's six, after its last cut
                replaced(self)

    task, pruning = Validated(), L1Pruning(threshold=SparsityPath((0.5, 0.9)))
    _, said, _ = fit(task, pruning, epochs=8)
    assert not any("left dense" in one for one in said)
    assert zeros(task.head.weight) > 256


@pytest.mark.filterwarnings("ignore:head.* is parametrized since", "ignore:head.* joined since")
@pytest.mark.parametrize("kind", ["wrapped", "spectral norm"])
def test_a_plan_goes_back_to_weights_that_have_another_name_now(kind: str) -> None:
    class Validated(Changed):
        def validation_step(self, x: Tensor, i: int) -> None:
            small = zeros(self.weight) > 0.6 * self.weight.numel()
            self.log("val/accuracy", 0.0 if small else 1.0)

        val_dataloader = Task.train_dataloader

    budget = Budget("val/accuracy", 0.1, rounds=3)  # its second smaller network is too small
    task, pruning = Validated(CHANGES[kind], 7), L1Pruning(threshold=budget)
    trainer(pruning, epochs=9).fit(task)
    (name,) = (name for name, w in task.named_parameters() if w is task.weight)
    gone = ~pruning.masks[name]
    assert pruning.report is not None
    assert pruning.report.sparsity == max(
        one["sparsity"] for one in pruning.outcomes if one["val/accuracy"] == 1.0
    )
    assert bool((task.weight[gone] == 0).all())


def test_only_what_has_changed_is_looked_at_again() -> None:
    net = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 2))
    optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    known = RunTargets(L1Pruning().recipe, Masks(), net)
    known.begin([optimizer])
    assert not known.have_changed([optimizer], thorough=True)
    optimizer.add_param_group({"params": [*net[1].parameters()]})
    assert known.have_changed([optimizer], thorough=False)
    assert not known.have_changed([optimizer], thorough=False)
    net[1].bias = nn.Parameter(torch.zeros(2))
    assert not known.have_changed([optimizer], thorough=False)
    assert known.have_changed([optimizer], thorough=True)
