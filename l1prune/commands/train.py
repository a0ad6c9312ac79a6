"""Train one network, dense or pruned, as a configuration says; see `conf/train.yaml`."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from l1prune.checks import DivergenceError
from l1prune.deploy.inputs import first_call
from l1prune.deploy.outlook import outlook
from l1prune.runs import sweep, wandb
from l1prune.runs.best import BestCheckpoint
from l1prune.runs.folder import MODEL, RunFolder, is_first
from l1prune.runs.history import History, Trajectory
from l1prune.runs.identity import RunIdentity
from l1prune.runs.path import PathCheckpoint, test_path
from l1prune.runs.progress import RunProgress
from l1prune.runs.summary import in_words, summary_of
from l1prune.training import loggers
from l1prune.training.callback import L1Pruning
from l1prune.training.resume.last import LastCheckpoint
from l1prune.training.resume.randomness import StepSeed
from l1prune.weights.finite import check_finite
from l1prune.weights.report import SparsityReport

CONF = Path(__file__).parents[2] / "conf"


@sweep.command(CONF)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
@sweep.job
def main(config: DictConfig) -> None:
    """Train, or go on training; test once; leave the results in the run directory."""
    silence_advice()
    with closing(RunFolder(config.run_dir)) as folder:
        train(config, folder)


def train(config: DictConfig, folder: RunFolder) -> None:
    """Train in a folder, unless it has this run already."""
    with refusing(Exception):
        settings = resolved(config)
        torch.set_num_threads(config.threads)
        if not folder.begin(settings):
            print(f"{folder.path} has this run already: {in_words(folder.summary())}")
            return
        run = build(config, folder, RunIdentity(folder.path, settings))
        wandb.log_config(run.trainer.loggers, settings)
        if not run.pruning:
            note_parameters(run.trainer, SparsityReport.of(run.model))

    with failing(folder):
        with (
            refusing(ValueError, trained=lambda: run.trainer.global_step > 0),
            resumable(folder),
        ):
            run.trainer.fit(run.model, run.data, ckpt_path=folder.last)
            if not run.trainer.global_step:
                raise ValueError(
                    f"trainer.max_epochs={config.trainer.max_epochs}, "
                    f"trainer.max_steps={config.trainer.max_steps}: that is no training at all; "
                    "give at least one epoch"
                )
        with resumable(folder):
            finish(run, folder, config.seed)


def resolved(config: DictConfig) -> Any:
    """All settings as plain values.

    Raises:
        ValueError: the model asks of the data what only another kind of data has.
    """
    try:
        return OmegaConf.to_container(config, resolve=True)
    except InterpolationKeyError as error:
        if not str(error.full_key).startswith("model."):
            raise
        chosen: Any = HydraConfig.get().runtime.choices
        raise ValueError(
            f"model={chosen.model} needs another kind of data than data={chosen.data}: "
            f"{str(error).splitlines()[0]}; model=gpt learns from data=shakespeare, all others "
            "from images"
        ) from error


@dataclass
class Run:
    """What takes part in a run, and what is asked of it at the end."""

    data: L.LightningDataModule
    model: Any
    pruning: L1Pruning | None
    trainer: L.Trainer
    identity: RunIdentity
    timer: Timer
    trajectory: Trajectory
    best: BestCheckpoint


def build(config: DictConfig, folder: RunFolder, identity: RunIdentity) -> Run:
    """Make what the configuration names."""
    data = instantiate(config.data)
    L.seed_everything(config.seed, workers=True, verbose=False)
    model = instantiate(config.model)
    pruning = instantiate(config.get("prune"))
    timer, trajectory, best = Timer(), Trajectory(), BestCheckpoint(folder.path)
    callbacks = [RunProgress(), timer, StepSeed(config.seed), *([pruning] if pruning else [])]
    # The identity settles in when all before it have agreed; the last keeps what they know.
    callbacks += [
        identity,
        PathCheckpoint(folder.path),
        trajectory,
        best,
        History(folder.path),
        LastCheckpoint(folder.path, config.save_every),
    ]
    trainer = instantiate(config.trainer, _partial_=True)(
        logger=instantiate(config.logger) or False, callbacks=callbacks
    )
    return Run(data, model, pruning, trainer, identity, timer, trajectory, best)


def finish(run: Run, folder: RunFolder, seed: int) -> None:
    """Test, and leave the results: in the folder, with the loggers, and the summary last.

    So a run that was stopped before the summary was there is finished by the next start.
    """
    trainer, network = run.trainer, run.model.network
    check_finite(dict(network.named_parameters()), "before the end")
    # A run that was stopped after its last epoch has no figures of its own yet, and one that has
    # gone back to an earlier network those of a later one.
    gone_back = run.pruning and not run.pruning.arrived
    if "val/accuracy" not in trainer.callback_metrics or gone_back:
        trainer.validate(run.model, run.data, verbose=False)
    figures = {**trainer.callback_metrics}
    test_path(trainer, run.model, run.data, folder.path)
    # The final weights, not the best epoch's: one model is counted, tested and saved.
    with first_call(network) as calls:
        trainer.test(run.model, run.data, verbose=False)
    figures |= trainer.callback_metrics

    report = (run.pruning and run.pruning.report) or SparsityReport.of(run.model)
    summary = summary_of(figures, report, seed, run.timer.time_elapsed("train"))
    run.identity.check_place(trainer)
    folder.keep(network, report)
    end = (report.nonzero, summary["test/accuracy"])
    wandb.log_frontier(trainer.loggers, run.trajectory.points, end)
    if best := run.best.figures(report):
        wandb.log_model(trainer.loggers, run.best.best_model_path, best, "best")
    wandb.log_model(trainer.loggers, folder.path / MODEL, summary, "latest")
    loggers.summarise(trainer.loggers, report, summary)
    wandb.finish(trainer.loggers)
    folder.end(summary)
    if is_first():
        print(f"\n{folder.path} has everything this run leaves.\n\n{report}\n{in_words(summary)}")
        if run.pruning and calls:
            command = shlex.join(["python", "scripts/deploy.py", str(folder.path)])
            print(f"deploy: {outlook(network, calls[0])}; {command} writes it")


def silence_advice() -> None:
    """No notes on hardware that was looked for, no advice for large data sets and clusters.

    Here the data are in memory and the run is alone. Called in every job: a sweep's may each have
    a process of its own.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message, kind in (
        (r"The '.*_dataloader' does not have many workers", UserWarning),
        (r"Checkpoint directory .* exists and is not empty", UserWarning),
        (r"The number of training batches .* is smaller than the logging", UserWarning),
        (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    ):
        warnings.filterwarnings("ignore", message, kind)


@contextmanager
def refusing(
    *kinds: type[Exception], trained: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """End the program with the message alone when the input is wrong.

    Once a step is trained an error is no longer about the input, and keeps its traceback;
    HYDRA_FULL_ERROR=1 keeps it always.
    """
    try:
        yield
    except kinds as error:
        if trained() or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__:
            cause = cause.__cause__
        raise sweep.Refusal(f"Cannot train like this: {cause}") from None


@contextmanager
def failing(folder: RunFolder) -> Iterator[None]:
    """End the program with the message alone when training diverged, or the disk failed it.

    HYDRA_FULL_ERROR=1 keeps the traceback.
    """
    try:
        yield
    except (DivergenceError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        advice = (
            "try a lower learning rate, in another folder"
            if isinstance(error, DivergenceError)
            else "when that is put right, the same command goes on from what was saved last"
        )
        raise sweep.Refusal(f"The run in {folder.path} has stopped: {error}; {advice}") from None


def note_parameters(trainer: L.Trainer, report: SparsityReport) -> None:
    """Let a dense run appear beside pruned ones, whose callback notes its own parameters."""
    loggers.define_axes(trainer.loggers)
    for logger in trainer.loggers:
        logger.log_metrics({"params/nonzero": float(report.nonzero)}, step=0)


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Say how to go on when the run is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        where = f"hydra.run.dir={folder.path}"
        options = [o for o in HydraConfig.get().overrides.task if o != where]
        command = shlex.join(["python", *sys.argv[:1], *options, where])
        if is_first():
            print(f"\nStopped. To go on: {command}", file=sys.stderr)
        raise
