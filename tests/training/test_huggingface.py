"""Hugging Face: its Trainer is walked through the life of a run, and can stop anywhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from l1prune import Budget, Pruning, Sparsity, SparsityPath

transformers = pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("accelerate", reason="the Trainer of transformers needs accelerate")

from l1prune.training.huggingface import FILE, HFPruning  # noqa: E402  # after the skip

STEPS = 12


class Pairs(Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        source = torch.Generator().manual_seed(1)
        self.x, self.y = (torch.randn(48, width, generator=source) for width in (8, 2))

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class Net(nn.Module):
    """300 weights, which draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(8, 30), nn.Dropout(0.1), nn.ReLU(), nn.Linear(30, 2))

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        found = self.layers(x)
        return {"loss": (found - labels).square().mean(), "logits": found}


def training(folder: Path, pruning: Pruning, *callbacks: Any, **options: Any) -> Any:
    """A Trainer of three epochs of four steps, each of two batches."""
    plan = {"num_train_epochs": 3, "per_device_train_batch_size": 6, "learning_rate": 0.01}
    plan |= {"gradient_accumulation_steps": 2, "save_steps": 5, "use_cpu": True}
    plan |= {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no"}
    arguments = transformers.TrainingArguments(output_dir=str(folder), **(plan | options))
    made = [HFPruning(pruning), *callbacks]
    data = {"train_dataset": Pairs(), "eval_dataset": Pairs()}
    return transformers.Trainer(Net(), arguments, callbacks=made, **data)


def pruning_of(trainer: Any) -> HFPruning:
    (found,) = [one for one in trainer.callback_handler.callbacks if isinstance(one, HFPruning)]
    return found


def zeros(state: Mapping[str, Tensor]) -> int:
    return sum(int((w == 0).sum()) for name, w in state.items() if name.endswith("weight"))


HALF = Pruning(1e-3, Sparsity(0.5), prune_at=[0.25, 0.5])


def test_its_steps_are_those_of_the_trainer_and_its_zeros_are_there(tmp_path: Path) -> None:
    trainer = training(tmp_path, HALF)
    dense = trainer.evaluate()["eval_loss"]
    trainer.train()
    callback = pruning_of(trainer)
    assert callback.run is not None and callback.run.steps == STEPS
    assert callback.report is not None and callback.report.sparsity == 0.5
    assert zeros(trainer.model.state_dict()) == 150
    assert trainer.evaluate()["eval_loss"] < dense
    assert not trainer.optimizer.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("name", ["half", "default", "path"])
def test_a_resumed_training_is_the_one_that_was_not_stopped(name: str, tmp_path: Path) -> None:
    path = Pruning(1e-3, SparsityPath((0.5, 0.8)), prune_at=0.5)
    pruning = {"half": HALF, "default": Pruning(), "path": path}[name]
    evaluated = {"eval_strategy": "steps", "eval_steps": 3}
    whole = training(tmp_path, pruning, **evaluated)
    whole.train()
    assert (tmp_path / "checkpoint-5" / FILE).is_file()
    again = training(tmp_path, copy.copy(pruning), **evaluated)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    theirs, ours = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(w, ours[name]) for name, w in theirs.items())
    assert zeros(ours) == {"half": 150, "default": 285, "path": 240}[name]


def test_a_checkpoint_without_the_run_is_refused(tmp_path: Path) -> None:
    training(tmp_path, HALF).train()
    (tmp_path / "checkpoint-5" / FILE).unlink()
    again = training(tmp_path, HALF)
    with pytest.raises(ValueError, match=r"has no pruning\.pt: resume from a checkpoint of output"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_an_evaluation_ends_a_stage(tmp_path: Path) -> None:
    generous = Pruning(0.0, Budget("eval_loss", 10.0, rounds=1), prune_at=0.5)
    trainer = training(tmp_path, generous, eval_strategy="epoch", save_strategy="no")
    trainer.train()
    run = pruning_of(trainer).run
    assert run is not None and run.arrived
    assert [round(one["sparsity"], 2) for one in run.outcomes] == [0.0, 0.75]
    assert zeros(trainer.model.state_dict()) == 225
    trainer.evaluate()  # is of no run


def test_the_best_is_among_networks_that_have_arrived(tmp_path: Path) -> None:
    class Worse(transformers.TrainerCallback):  # type: ignore[misc]  # no types without it
        """Lets each evaluation be worse than the one before."""

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
            metrics["eval_loss"] = float(state.global_step)

    keeps = {"eval_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    keeps |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    stops = transformers.EarlyStoppingCallback(early_stopping_patience=2)
    trainer = training(tmp_path, HALF, Worse(), stops, greater_is_better=False, **keeps)
    trainer.train()
    assert trainer.state.best_global_step == 6, "the first after the last cut"
    assert trainer.state.global_step == 10, "and patience begins there"
    assert zeros(trainer.model.state_dict()) == 150


def test_an_interrupted_training_lets_go_when_the_next_begins(tmp_path: Path) -> None:
    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 7:
                raise KeyboardInterrupt

    stop = Stop()
    trainer = training(tmp_path, HALF, stop, save_strategy="no")
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    first = pruning_of(trainer).run
    trainer.remove_callback(stop)
    trainer.train()
    last = pruning_of(trainer).run
    assert first is not last is not None and last.steps == STEPS
    assert zeros(trainer.model.state_dict()) == 150
