"""Stop: whatever signal ends a run, at whatever moment, the next start goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from boring import boring_trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

import l1prune
from l1prune import L1Pruning, LastCheckpoint, ResumableLoader, Shuffle, last_checkpoint, once

BATCHES, EPOCHS = 4, 3
HOOKS = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_after_backward",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
)


class Task(BoringModel):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.steps = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.steps += 1
        return super().training_step(batch, batch_idx)

    def train_dataloader(self) -> DataLoader[Any]:
        data = torch.randn(BATCHES, 32, generator=torch.Generator().manual_seed(1))
        return ResumableLoader(data, 1, sampler=Shuffle(BATCHES))  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Kill(L.Callback):
    """Sends signals when a hook is called for the n-th time."""

    def __init__(self, hook: str, time: int, *numbers: int) -> None:
        self.left = time
        self.numbers = numbers
        setattr(self, hook, self._count)

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def fit(folder: Path, *others: L.Callback, **options: Any) -> Task:
    plan = {"limit_train_batches": 1.0, "limit_val_batches": 2, "enable_checkpointing": True}
    callbacks = [L1Pruning(threshold=0.05, prune_at=once(0.4)), *others, LastCheckpoint(folder)]
    task = Task()
    trainer = boring_trainer(*callbacks, epochs=EPOCHS, **(plan | options))
    trainer.fit(task, ckpt_path=last_checkpoint(folder))
    return task


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return fit(tmp_path_factory.mktemp("whole")).state_dict()


@pytest.fixture(autouse=True)
def a_stray_signal_does_not_end_the_tests() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    for number in before:
        signal.signal(number, lambda *_: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize("hook", HOOKS)
def test_sigterm_at_any_moment_ends_with_143_and_is_gone_on_from(
    tmp_path: Path, whole: dict[str, torch.Tensor], hook: str, time: int
) -> None:
    if hook == "on_train_start" and time == 2:
        pytest.skip("there is no second one")
    with pytest.raises(SystemExit) as end:
        fit(tmp_path, Kill(hook, time, signal.SIGTERM))
    assert end.value.code == 143
    for name, weight in fit(tmp_path).state_dict().items():
        assert torch.equal(weight, whole[name])


@pytest.mark.parametrize("time", range(1, BATCHES * EPOCHS + 1))
def test_no_step_is_lost_or_done_twice(tmp_path: Path, time: int) -> None:
    class Counted(L.Callback):
        steps = 0

        def on_train_batch_end(self, *_: Any) -> None:
            Counted.steps += 1

    with pytest.raises(SystemExit):
        fit(tmp_path, Counted(), Kill("on_train_batch_start", time, signal.SIGTERM))
    fit(tmp_path, Counted())
    assert Counted.steps == BATCHES * EPOCHS


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGTERM, signal.SIGTERM], 143),
        ([signal.SIGTERM, signal.SIGINT], 143),
        ([signal.SIGINT], 1),
        ([signal.SIGINT, signal.SIGTERM], 1),
    ],
)
def test_the_first_signal_decides_how_it_ends(
    tmp_path: Path, signals: list[int], expected: int
) -> None:
    before = {number: signal.getsignal(number) for number in signals}
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)) as end:
            fit(tmp_path, Kill("on_train_batch_start", 2, *signals))
        assert getattr(end.value, "code", expected) == expected
        handlers = {number: signal.getsignal(number) for number in signals}
        handlers.pop(signal.SIGINT, None)  # Lightning leaves that one ignored
        assert handlers.items() <= before.items()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_sigterm_that_lightning_hears_has_its_exit_code_too(tmp_path: Path) -> None:
    class Terminated(L.Callback):
        def on_validation_batch_end(self, *_: Any) -> None:
            raise SIGTERMException

    trainer = boring_trainer(Terminated(), LastCheckpoint(tmp_path), limit_val_batches=2)
    with pytest.raises(SystemExit) as end:
        trainer.validate(BoringModel(), verbose=False)
    assert end.value.code == 143


def test_a_plain_program_that_is_terminated_has_not_succeeded(tmp_path: Path) -> None:
    program = f"""
import os, signal, lightning as L
from lightning.pytorch.demos.boring_classes import BoringModel
from l1prune import LastCheckpoint
class Kill(L.Callback):
    def on_train_batch_start(self, *_):
        os.kill(os.getpid(), signal.SIGTERM)
L.Trainer(max_epochs=2, callbacks=[Kill(), LastCheckpoint({str(tmp_path)!r})],
          accelerator="cpu", logger=False, enable_progress_bar=False).fit(BoringModel())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(l1prune.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment)
    assert done.returncode == 143
    assert last_checkpoint(tmp_path)


# ---- Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster's environment, and the file in which its scontrol notes what it was asked."""
    (tmp_path / "bin").mkdir()
    asked = tmp_path / "asked"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {asked}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    names = {"NTASKS": "1", "NTASKS_PER_NODE": "1", "JOB_NAME": "train", "JOB_ID": "77"}
    names |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0", "NODELIST": "localhost"}
    for name, value in names.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return asked


@pytest.mark.parametrize("array", [False, True])
def test_a_job_whose_time_is_up_is_requeued_and_goes_on_from_its_own_folder(
    tmp_path: Path,
    slurm: Path,
    whole: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    array: bool,
) -> None:
    if array:
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(SystemExit) as end:
        kill = Kill("on_train_batch_start", 6, signal.SIGUSR1, signal.SIGTERM)
        fit(tmp_path / "run", kill, default_root_dir=home)
    assert end.value.code == 128 + signal.SIGUSR1
    assert slurm.read_text() == f"requeue {'5_3' if array else '77'}\n"
    assert not list(home.rglob("*hpc*"))
    # Another run in the same place is another run.
    for folder in ("run", "other"):
        state = fit(tmp_path / folder, default_root_dir=home).state_dict()
        assert all(torch.equal(weight, whole[name]) for name, weight in state.items())


@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")  # warns() shows it again
@pytest.mark.parametrize("how", ["refuses", "is not there"])
def test_a_job_that_cannot_be_requeued_uses_its_time(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "refuses":
        (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match="scontrol did not requeue this job"):
        task = fit(tmp_path / "run", Kill("on_train_batch_start", 6, signal.SIGUSR1))
    assert task.steps == BATCHES * EPOCHS


def test_who_asks_lightning_not_to_requeue_is_not_requeued(tmp_path: Path, slurm: Path) -> None:
    plugin = SLURMEnvironment(auto_requeue=False)
    task = fit(tmp_path / "run", Kill("on_train_start", 1, signal.SIGUSR1), plugins=[plugin])
    assert task.steps == BATCHES * EPOCHS
    assert not slurm.exists()
