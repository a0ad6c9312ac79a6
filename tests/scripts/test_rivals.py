"""Rivals do what they are said to do, and the comparison reads what they leave."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from safetensors.torch import save_file
from tasks import trainer

from l1prune.training.resume.randomness import StepSeed
from l1prune.zoo import Classifier, Digits, mlp

SCRIPTS = Path(__file__).parents[2] / "scripts"
CHOICES = SCRIPTS / "benchmarks" / "conf" / "prune"
EPOCHS, WEIGHTS = 10, 64 * 16 + 16 * 10

needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="needs torchao, the extra 'bench'"
)
rivals = pytest.mark.parametrize(
    "name", ["modelpruning", "l1_loss", pytest.param("pat", marks=needs_torchao)]
)


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield


def rival(name: str, sparsity: float = 0.93, **settings: Any) -> L.Callback:
    config = OmegaConf.load(CHOICES / f"{name}.yaml")
    made: L.Callback = instantiate(config, threshold={"sparsity": sparsity}, **settings)
    return made


def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(mlp((1, 8, 8), 10, hidden=[16]), 10, lambda w: torch.optim.Adam(w, lr=2e-3))


def fit(module: Classifier, *callbacks: L.Callback, resume: Path | None = None) -> L.Trainer:
    limits = {"limit_train_batches": 4, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    run = trainer(StepSeed(0), *callbacks, epochs=EPOCHS, **limits)
    run.fit(module, Digits(seed=0), ckpt_path=resume)
    return run


def every_epoch(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)


def zeros(weights: dict[str, torch.Tensor]) -> int:
    return sum(int((w == 0).sum()) for w in weights.values() if w.ndim > 1)


# ---- the rivals


@rivals
def test_every_rival_ends_with_exactly_the_zeros_asked_for_and_plain_names(name: str) -> None:
    module = model()
    plain = module.state_dict().keys()
    fit(module, rival(name))
    assert module.state_dict().keys() == plain
    assert zeros(module.network.state_dict()) == math.ceil(0.93 * WEIGHTS)


@rivals
@pytest.mark.parametrize("epoch", [4, 7])
def test_a_rival_that_is_stopped_goes_on_as_if_it_had_not_been(
    name: str, epoch: int, tmp_path: Path
) -> None:
    whole, resumed = model(), model()
    every = every_epoch(tmp_path)
    fit(whole, rival(name), every)
    file = tmp_path / f"epoch={epoch}.ckpt"
    stored = torch.load(file, weights_only=True)["state_dict"]
    assert stored.keys() == whole.state_dict().keys()
    fit(resumed, rival(name), every_epoch(tmp_path), resume=file)
    for key, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[key]), key


@pytest.mark.skipif(
    importlib.util.find_spec("torch_pruning") is None,
    reason="needs torch-pruning, the extra 'bench'",
)
def test_groups_are_removed_until_the_share_is_left_and_training_goes_on() -> None:
    module = model()
    config = OmegaConf.load(CHOICES / "group_norm.yaml")
    run = fit(module, instantiate(config, left=0.5))
    left = sum(w.numel() for w in module.parameters() if w.ndim > 1)
    assert 0.3 * WEIGHTS < left <= 0.55 * WEIGHTS
    (optimizer,) = run.optimizers
    moved = {id(w) for group in optimizer.param_groups for w in group["params"]}
    assert moved == {id(w) for w in module.parameters()}


def test_modelpruning_is_done_when_its_window_is(tmp_path: Path) -> None:
    every = every_epoch(tmp_path)
    fit(model(), rival("modelpruning"), every)
    files = [tmp_path / f"epoch={epoch}.ckpt" for epoch in range(EPOCHS)]
    counts = [zeros(torch.load(file, weights_only=True)["state_dict"]) for file in files]
    assert counts[0] == 0
    assert counts[1:6] == sorted(set(counts[1:6]))
    assert set(counts[5:]) == {math.ceil(0.93 * WEIGHTS)}


def test_the_loss_has_the_penalty_until_the_cut() -> None:
    class Noted(Classifier):
        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            self.plain = super().training_step(batch, batch_index)
            return self.plain

    class Compared(L.Callback):
        def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
            extra.append(float(loss.detach() - pl_module.plain.detach()))
            weights = (layer.weight for layer in pl_module.network if hasattr(layer, "weight"))
            norm.append(0.01 * float(sum(w.detach().abs().sum() for w in weights)))

    extra: list[float] = []
    norm: list[float] = []
    module = model()
    module.__class__ = Noted
    fit(module, rival("l1_loss", strength=0.01), Compared())
    cut = int(0.6 * EPOCHS * 4)
    assert extra[:cut] == pytest.approx(norm[:cut], rel=1e-4)
    assert extra[cut:] == [0.0] * (EPOCHS * 4 - cut)


@needs_torchao
def test_the_loss_under_pat_is_that_of_the_sparse_weights() -> None:
    class Counted(L.Callback):
        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
            seen.append(zeros(pl_module.network.state_dict()))

    seen: list[int] = []
    fit(model(), rival("pat", strength=0.3), Counted())
    assert seen[0] == 0
    assert all(count > 0 for count in seen[2:])


# ---- the comparison


@pytest.fixture
def parts() -> tuple[ModuleType, ModuleType, ModuleType]:
    from benchmarks import frontier, standings, trials  # type: ignore[import-not-found]

    return frontier, standings, trials


@pytest.fixture
def plan(parts: Any, tmp_path: Path) -> Any:
    _, _, trials = parts
    grids = {"l1_loss": (1e-3, 1e-2)}
    task = trials.Task("toy", "Toys", ("data=digits",), (0.5,), grids, {"l1_loss": {0.5: 1e-2}})
    return trials.Plan((task,), (0, 1), tmp_path)


def leave(plan: Any, trial: Any, test: float, validation: float = 0.0) -> None:
    """What a run of the trial would leave, with half of its weights."""
    run = plan.run_of(trial)
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps(plan.options_of(trial)))
    figures = {"test/accuracy": test, "val/accuracy": validation, "params/nonzero": 1}
    (run / "summary.json").write_text(json.dumps(figures))
    weights = {"weight": torch.eye(2), "bias": torch.ones(2)}
    save_file(weights, str(run / "model.safetensors"))


def test_the_table_has_the_means_and_the_counts_of_the_stored_networks(
    parts: Any, plan: Any
) -> None:
    _, standings, trials = parts
    contest = list(trials.contest(plan))
    for trial in contest:
        best = 0.1 + 0.02 * trial.seed if trial.contender == "l1" else 0.0
        leave(plan, trial, test=0.5 + best + 0.2 * trial.seed)
    found = standings.standings(plan, contest)
    lines = standings.table(plan.tasks[0], found).splitlines()
    assert len(found) == 1 + len(trials.contenders())
    assert "| 2 | l1prune |  | 71.00 ± 11.00 % |  | 2 |" in lines
    assert "| 2 | L1 in the loss | 0.01 | 60.00 ± 10.00 % | −11.00 ± 1.00 | 2 |" in lines
    assert "| 2 | dense |  | 60.00 ± 10.00 % |  | 2 |" in lines


def test_strengths_are_chosen_on_validation_whatever_the_test_says(parts: Any, plan: Any) -> None:
    _, standings, trials = parts
    grid = list(trials.grid(plan))
    assert len(grid) == 4
    for trial in grid:
        small = trial.strength == 1e-3
        leave(plan, trial, test=0.1 if small else 0.9, validation=0.8 if small else 0.7)
    (best,) = standings.winners(standings.standings(plan, grid))
    assert best.trial.strength == 1e-3


def test_what_is_finished_is_not_trained_again_unless_asked_otherwise(
    parts: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, trials = parts
    started: list[Any] = []
    monkeypatch.setattr(trials, "start", lambda plan, trial: started.append(trial) or "")
    contest = list(trials.contest(plan))
    for trial in contest[1:]:
        leave(plan, trial, test=0.5)
    assert trials.train(plan, contest) == []
    assert started == contest[:1]
    longer = trials.Plan(plan.tasks, plan.seeds, plan.folder, options=("trainer.max_epochs=2",))
    trials.train(longer, contest)
    assert len(started) == 1 + len(contest)


def test_the_docs_get_the_table_and_keep_the_rest(
    parts: Any, plan: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frontier, _, trials = parts
    for trial in trials.contest(plan):
        leave(plan, trial, test=0.5)
    page = tmp_path / "docs" / frontier.PAGE
    page.parent.mkdir()
    marks = "<!-- results of toy -->\nold\n<!-- end of results of toy -->"
    page.write_text(f"By hand.\n\n{marks}\n\nTo the end.\n")
    options = Namespace(
        **{"tasks": plan.tasks, "seeds": (0, 1), "folder": plan.folder, "docs": page.parent},
        **{"jobs": 1, "options": (), "mnist": None, "tune": False},
    )
    assert frontier.run(options) == 0
    text = page.read_text()
    assert text.startswith("By hand.") and text.endswith("To the end.\n") and "old" not in text
    assert capsys.readouterr().out.strip() in text
    assert (page.parent / frontier.PICTURE).stat().st_size > 10_000


def test_a_failed_run_is_named(parts: Any, plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, trials = parts
    monkeypatch.setattr(trials, "TRAIN", Path(sys.executable).with_name("no such script.py"))
    trial = next(iter(trials.contest(plan)))
    (problem,) = trials.train(plan, [trial])
    assert str(plan.run_of(trial)) in problem
