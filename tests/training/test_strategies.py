"""Runs over many processes: the same network as one process trains, and masks that agree."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from tasks import Task, examples, fit, layers
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from l1prune import GroupL1, L1Pruning, Magnitude, Proximal, Sparsity, Subgradient, rounds
from l1prune.cuts.scopes import LAMP, Global, PerLayer, Relative, Scope
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.training.strategies import check_strategy
from l1prune.weights import shards
from l1prune.weights.bits import unpack

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="torch was built without torch.distributed or gloo",
)

EPOCHS = 4
FORMS = {"metric": Proximal(OptimizerMetric()), "subgradient": Subgradient()}


class Spread(Task):
    """A small regression; its layers do not divide evenly between two processes."""

    def __init__(self, batch_size: int = 5) -> None:
        super().__init__(
            layers(8, 31, 9, 1), partial(torch.optim.Adam, lr=0.01), examples(40, 8, 1), batch_size
        )
        self.zeros: list[int] = []  # seen by each forward pass, where the weights are whole

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), sync_dist=True)

    def train_dataloader(self) -> DataLoader[Any]:
        world = self.trainer.world_size
        # In order, so that all processes' batches together are those of one process.
        order = DistributedSampler(self.data, world, self.global_rank, shuffle=False)
        return DataLoader(self.data, self.batch_size, sampler=order)

    val_dataloader = train_dataloader


class Sharded(Spread):
    """The same, its first layer and the rest sharded one by one, the rest by the outermost."""

    def configure_model(self) -> None:
        from torch.distributed.fsdp import FSDPModule, fully_shard

        if isinstance(self.net, FSDPModule):
            return
        mesh = self.device_mesh["data_parallel"]
        fully_shard(self.net[0], mesh=mesh)
        fully_shard(self.net, mesh=mesh)
        self.net[2].register_forward_pre_hook(self._look)

    def _look(self, module: nn.Module, inputs: Any) -> None:
        if self.training:
            self.zeros.append(int((module.weight == 0).sum()))


class Saves(L.Callback):
    """Saves a checkpoint half-way, as the last thing an epoch does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == EPOCHS // 2 - 1:
            trainer.save_checkpoint(self.path)


class Drifts(L.Callback):
    """Changes one weight on one process."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_rank == 1:
            pl_module.net[2].weight.data[0] = 1.0


class Leaves(L.Callback):
    """Leaves the group of processes: left to the end of Python, gloo aborts now and then."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


def pruning(**options: Any) -> L1Pruning:
    """Cuts twice, at the ends of epochs, when a validation has just gathered weights."""
    return L1Pruning(**({"threshold": Sparsity(0.8), "prune_at": [0.25, 0.5]} | options))


def outcome(task: Spread, callback: L1Pruning) -> dict[str, Any]:
    """What a process knows at the end; sharded tensors are gathered."""
    with torch.no_grad():
        weights = {name: whole(w).clone() for name, w in task.named_parameters()}
    known = {"weights": weights, "masks": {n: whole(m) for n, m in callback.masks.items()}}
    return known | {"report": str(callback.report), "phase": callback.phase, "zeros": task.zeros}


def whole(tensor: Tensor) -> Tensor:
    return shards.gathered(tensor).detach()


def run(
    task: Spread, callback: L1Pruning, others: tuple[L.Callback, ...] = (), **options: Any
) -> Any:
    """A run to its end, or from a checkpoint to its end."""
    checkpoint = options.pop("checkpoint", None)
    fit(task, callback, *others, resume=checkpoint, **options)
    return outcome(task, callback)


def fsdp(sharded_files: bool = False) -> ModelParallelStrategy:
    return ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=sharded_files
    )


def cuts_of_shards(kind: str) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
    """By scope, what is kept of plain tensors, and of the same tensors sharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    plain = [torch.randn(7, 5).abs(), torch.randn(1, 40).abs(), torch.randn(13).abs()]
    if kind == "ties":
        plain = [layer.round() for layer in plain]
    if kind == "earlier cut":
        plain = [layer.masked_fill(layer < 0.5, -1.0) for layer in plain]
    places = [(Shard(0),), (Shard(1),), (Replicate(),)]
    spread = [distribute_tensor(p, mesh, at) for p, at in zip(plain, places)]
    made = {}
    for threshold in (
        *(Sparsity(0.7, scope=scope) for scope in (Global(), PerLayer(), Relative(), LAMP())),
        Magnitude(0.5, floor=3),
        Magnitude(9.0, floor=3),
    ):
        kept = threshold.keep(spread, [2, 1, 3])
        made[repr(threshold)] = (
            threshold.keep(plain, [2, 1, 3]),
            [keep.full_tensor() for keep in kept],  # type: ignore[attr-defined]
        )
    return made


def largest_gathered(scope: Scope) -> int:
    """How many numbers a cut of sharded weights gathers at most at a time."""
    seen = [0]
    gathered = shards.gathered

    def watched(tensor: Tensor) -> Tensor:
        seen.append(tensor.numel())
        return gathered(tensor)

    class Watch(L.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            shards.gathered = watched

        on_validation_start = on_train_batch_start

    def restore() -> None:
        shards.gathered = gathered

    callback = pruning(threshold=Sparsity(0.8, scope=scope))
    try:
        fit(Sharded(), Watch(), callback, strategy=fsdp(), devices=2)
    finally:
        restore()
    return max(seen)


def work(out: Path) -> None:
    """What each of two processes does; run as a script."""
    made: dict[str, Any] = {}
    for name, task, strategy, resuming in (
        ("ddp", Spread, lambda: "ddp", lambda: "ddp"),
        ("fsdp", Sharded, fsdp, fsdp),
        ("fsdp sharded", Sharded, lambda: fsdp(True), lambda: fsdp(True)),
    ):
        path = out / f"{name}.ckpt"
        plan: dict[str, Any] = {"devices": 2}
        made[name] = run(task(), pruning(), (Saves(path),), strategy=strategy(), **plan)
        made[f"{name} resumed"] = run(
            task(), pruning(), strategy=resuming(), checkpoint=path, **plan
        )
        often, path = {"prune_at": rounds(0.2, 0.7, 10)}, out / f"{name} often.ckpt"
        made[f"{name} often"] = run(
            task(), pruning(**often), (Saves(path),), strategy=strategy(), **plan
        )
        made[f"{name} often resumed"] = run(
            task(), pruning(**often), strategy=resuming(), checkpoint=path, **plan
        )
    if (out / "one.ckpt").exists():
        made["one resumed"] = run(
            Spread(), pruning(), strategy="ddp", devices=2, checkpoint=out / "one.ckpt"
        )
    for start, task, strategy in (("ddp", Spread, lambda: "ddp"), ("fsdp", Sharded, fsdp)):
        for name, form in FORMS.items():
            pressing = pruning(strength=0.02, form=form)
            made[f"{start} {name}"] = run(task(), pressing, strategy=strategy(), devices=2)
        clipped = {"strategy": strategy(), "devices": 2, "gradient_clip_val": 0.05}
        made[f"{start} clipped"] = run(task(), pruning(strength=0.02), **clipped)
    made["constant"] = run(Spread(), pruning(strength=0.05), strategy="ddp", devices=2)
    for kind in ("plain", "ties", "earlier cut"):
        made[f"cuts, {kind}"] = cuts_of_shards(kind)
    made["gathered"] = {repr(s): largest_gathered(s) for s in (Global(), LAMP())}
    average = (lightning_callbacks.StochasticWeightAveraging(0.01),)
    made["averaged"] = refusal(Sharded(), pruning(), average, strategy=fsdp(), devices=2)
    made["refused"] = refusal(Sharded(), pruning(penalty=GroupL1()), strategy=fsdp(), devices=2)
    made["drifted"] = refusal(
        Spread(), pruning(strength=0.05), (Drifts(),), strategy="ddp", devices=2
    )
    torch.save(made, out / f"rank{dist.get_rank()}.pt")
    dist.destroy_process_group()


def refusal(*arguments: Any, **options: Any) -> str:
    try:
        run(*arguments, **options)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return "went through"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the first process and the second one made, and what one process alone does."""
    out = tmp_path_factory.mktemp("processes")
    run(Spread(10), pruning(), (Saves(out / "one.ckpt"),))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCAL_")}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, str(out)],
        env=clean | paths,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(out / f"rank{i}.pt", weights_only=True) | {"out": out} for i in (0, 1)]


RUNS = ["ddp", "ddp resumed", "fsdp", "fsdp resumed", "fsdp sharded", "fsdp sharded resumed"]


@pytest.mark.parametrize("name", RUNS)
def test_processes_agree_to_the_bit(made: Any, name: str) -> None:
    first, second = made[0][name], made[1][name]
    assert same(first["weights"], second["weights"]) and same(first["masks"], second["masks"])
    assert first["report"] == second["report"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_pressure_is_the_same_on_shards(made: Any, form: str) -> None:
    a, b = made[0][f"fsdp {form}"], made[0][f"ddp {form}"]
    assert same(a["masks"], b["masks"]) and same(a["weights"], b["weights"])
    assert not same(a["weights"], made[0]["fsdp"]["weights"])


def test_gradients_of_removed_weights_use_up_no_budget_on_shards_either(made: Any) -> None:
    # The norm is summed in another order, part by part.
    close(made[0]["fsdp clipped"], made[0]["ddp clipped"])
    assert not same(made[0]["ddp clipped"]["weights"], made[0]["ddp"]["weights"])


def test_an_average_of_shards_is_refused(made: Any) -> None:
    assert "StochasticWeightAveraging copies the model" in made[0]["averaged"]


@pytest.mark.parametrize("name", RUNS[1:])
def test_a_run_is_the_same_however_its_weights_are_spread_and_resumed(made: Any, name: str) -> None:
    a, b = made[0][name], made[0]["ddp"]
    assert same(a["masks"], b["masks"]) and same(a["weights"], b["weights"])
    assert a["report"] == b["report"]


@pytest.mark.parametrize(
    "name",
    ["ddp often resumed", "fsdp often", "fsdp often resumed", "fsdp sharded often resumed"],
)
def test_so_are_many_cuts_by_what_weights_are_worth(made: Any, name: str) -> None:
    a, b = made[0][name], made[0]["ddp often"]
    assert same(a["masks"], b["masks"]) and same(a["weights"], b["weights"])
    assert not same(a["masks"], made[0]["ddp"]["masks"])


@pytest.mark.filterwarnings("ignore:.*that no cut removed")
def test_two_processes_train_what_one_trains_with_their_batches_together(made: Any) -> None:
    one = run(Spread(10), pruning())
    close(made[0]["ddp"], one)
    close(made[0]["constant"], run(Spread(10), pruning(strength=0.05)))


def test_a_run_goes_on_with_another_number_of_processes(made: Any) -> None:
    one = run(Spread(10), pruning())
    close(made[0]["one resumed"], one)
    close(run(Spread(10), pruning(), checkpoint=made[0]["out"] / "ddp.ckpt"), one)
    close(run(Spread(10), pruning(), checkpoint=made[0]["out"] / "fsdp.ckpt"), one)


def test_the_progress_counts_in_epochs_when_their_length_changes(made: Any) -> None:
    callback = pruning()  # twice as many batches an epoch: the second cut is still to come
    run(Spread(5), callback, checkpoint=made[0]["out"] / "ddp.ckpt")
    assert (callback.run.clock.batches, callback.phase) == (32, "tune")


@pytest.mark.parametrize("name", ["fsdp", "fsdp sharded"])
def test_the_first_forward_pass_after_a_cut_sees_its_zeros(made: Any, name: str) -> None:
    # Between the cuts the checkpoint was saved: it has the mask of the first one, at step 4.
    saved = torch.load(made[0]["out"] / "ddp.ckpt", weights_only=True)["callbacks"]["L1Pruning"]
    gone = int((~unpack(saved["masks"]["net.2.weight"], (9, 31))).sum())
    zeros = made[0][name]["zeros"]
    assert zeros[3] < gone <= zeros[4]
    assert zeros[8:] == [int((~made[0]["ddp"]["masks"]["net.2.weight"]).sum())] * 8


@pytest.mark.parametrize("kind", ["plain", "ties", "earlier cut"])
def test_a_cut_of_shards_is_the_cut_of_the_whole(made: Any, kind: str) -> None:
    for rank in made:
        for plain, spread in rank[f"cuts, {kind}"].values():
            assert all(torch.equal(a, b) for a, b in zip(plain, spread, strict=True))


def test_a_cut_gathers_nothing_or_one_layer_at_a_time(made: Any) -> None:
    assert made[0]["gathered"] == {"Global(least=0.0)": 0, "LAMP()": 31 * 9}


def test_full_checkpoints_hold_plain_weights_and_whole_masks(made: Any) -> None:
    for name in ("ddp", "fsdp"):
        saved = torch.load(made[0]["out"] / f"{name}.ckpt", weights_only=True)
        Spread().load_state_dict(saved["state_dict"])
        for layer, packed in saved["callbacks"]["L1Pruning"]["masks"].items():
            weight = saved["state_dict"][layer]
            assert not weight[~unpack(packed, weight.shape)].any()


def test_a_mask_that_differs_between_processes_stops_the_run(made: Any) -> None:
    for rank in made:
        assert "disagree about the mask of" in rank["drifted"]
        assert "the weights of net.2.weight differed" in rank["drifted"]


def test_groups_that_shards_would_split_are_refused(made: Any) -> None:
    assert "would split groups" in made[0]["refused"]


def test_the_launching_process_knows_the_outcome_of_a_spawned_run(made: Any) -> None:
    callback, task = pruning(), Spread()
    twin = copy.deepcopy(callback)
    before = set(Path(tempfile.gettempdir()).glob("l1prune-*"))
    fit(task, callback, Leaves(), strategy="ddp_spawn", devices=2)
    assert twin.report is None
    assert str(callback.report) == made[0]["ddp"]["report"]
    assert callback.phase == "tune" and callback.run.clock.batches == 16
    assert same(callback.masks, made[0]["ddp"]["masks"])
    assert same(dict(task.named_parameters()), made[0]["ddp"]["weights"])
    assert callback.state_dict()["rounds_done"] == 2
    assert set(Path(tempfile.gettempdir()).glob("l1prune-*")) == before


@pytest.mark.parametrize("strategy", [FSDPStrategy, DeepSpeedStrategy])
def test_other_ways_to_shard_are_refused_with_the_reason(strategy: type) -> None:
    with pytest.raises(ValueError, match=r"strategy: (FSDP1|DeepSpeed).* use "):
        check_strategy(strategy.__new__(strategy))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert same(a["masks"], b["masks"])
    for name, weight in a["weights"].items():
        torch.testing.assert_close(weight, b["weights"][name], rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
