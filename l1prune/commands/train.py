"""Train one network, dense or pruned, as a configuration says; see `conf/train.yaml`."""

from __future__ import annotations

import logging
import shlex
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
)
from torch import Tensor, nn

from l1prune.checks import is_whole
from l1prune.commands.parts import (
    find_monitor,
    find_own_modules,
    has_test,
    make_callbacks,
    make_data,
    make_logger,
    make_model,
    make_pruning,
    make_trainer,
    network_of,
    without,
)
from l1prune.commands.place import CONF, program, trusted
from l1prune.commands.refusals import failing, refusing, resumable, unless_refused
from l1prune.cuts.plans import told
from l1prune.deploy.columns import narrowed
from l1prune.deploy.inputs import Arguments, first_call
from l1prune.deploy.outlook import outlook
from l1prune.features.callback import KEPT, kept_by
from l1prune.features.pruning import selects_inputs
from l1prune.runs import sweep, wandb
from l1prune.runs.baseline import Baseline
from l1prune.runs.best import BestCheckpoint
from l1prune.runs.folder import MODEL, RunFolder, is_first
from l1prune.runs.history import History, Trajectory
from l1prune.runs.identity import RunIdentity
from l1prune.runs.monitor import Monitor
from l1prune.runs.path import PathCheckpoint, test_path
from l1prune.runs.progress import RunProgress
from l1prune.runs.pruning import pruning_of
from l1prune.runs.summary import in_words, summary_of
from l1prune.training import loggers
from l1prune.training.callback import L1Pruning
from l1prune.training.resume.last import LastCheckpoint
from l1prune.training.resume.randomness import StepSeed
from l1prune.weights.finite import check_finite
from l1prune.weights.report import SparsityReport
from l1prune.weights.warning import format_in_words


@sweep.command(CONF)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
@sweep.job
def main(config: DictConfig) -> None:
    """Train, or go on training; test once; leave the results in the run directory."""
    silence_advice()
    find_own_modules()
    with closing(RunFolder(config.run_dir)) as folder, unless_refused(folder):
        train(config, folder)


def train(config: DictConfig, folder: RunFolder) -> None:
    """Train in a folder, unless it has this run already."""
    with refusing(Exception):
        settings = resolved(config)
        torch.set_num_threads(config.threads)
        if 0 in (config.trainer.get("max_epochs"), config.trainer.get("max_steps")):
            raise no_training(config)
        if not folder.begin(settings):
            print(f"{folder.path} has this run already: {in_words(folder.summary())}")
            return
        run = build(config, folder, RunIdentity(folder.path, settings))
        judged = {"monitor": {"name": run.monitor.name, "mode": run.monitor.mode}}
        wandb.log_config(run.trainer.loggers, settings | judged)

    with failing(folder):
        with (
            refusing(ValueError, trained=lambda: run.trainer.global_step > 0),
            resumable(folder),
        ):
            run.trainer.fit(run.model, run.data, ckpt_path=folder.last)
            if not run.trainer.global_step:
                raise no_training(config)
        with resumable(folder):
            finish(run, folder, config.seed)


def no_training(config: DictConfig) -> ValueError:
    """What to say of a run without a step."""
    return ValueError(
        f"trainer.max_epochs={config.trainer.get('max_epochs')}, "
        f"trainer.max_steps={config.trainer.get('max_steps')}: that is no training at all; "
        "give at least one epoch"
    )


def resolved(config: DictConfig) -> Any:
    """All settings as plain values.

    Raises:
        ValueError: one is missing, or the model asks of the data what only another kind of data
            has.
    """
    OmegaConf.update(config, "monitor", as_node(config.monitor), merge=False)
    OmegaConf.update(config, "labels.objects", chosen_objects())
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} is missing: give it, as {error.full_key}=…") from error
    except (InterpolationKeyError, InterpolationResolutionError) as error:
        if not str(error.full_key).startswith("model."):
            raise
        chosen: Any = HydraConfig.get().runtime.choices
        raise ValueError(
            f"model={chosen.model} needs another kind of data than data={chosen.data}: "
            f"{str(error).splitlines()[0]}; model=gpt learns from data=shakespeare, "
            "model=tabular_mlp from tables, the others of the zoo from images; a module of your "
            "own needs nothing"
        ) from error


def as_node(monitor: Any) -> dict[str, Any]:
    """`monitor=val/mse` and `monitor: val/mse` say the name alone.

    >>> as_node("val/mse"), as_node({"name": "val/odd", "mode": "min"})
    ({'name': 'val/mse', 'mode': None}, {'name': 'val/odd', 'mode': 'min'})
    """
    named = {"name": monitor} if isinstance(monitor, str) else dict(monitor or {})
    return {"name": None, "mode": None, **named}


def chosen_objects() -> str | None:
    """The objects that were put in the place of a recipe's own, as `penalty=group_l1`."""
    given: Any = HydraConfig.get().overrides.task
    chosen = [one.lstrip("+").removeprefix("prune/") for one in given if "prune/" in one]
    return " ".join(chosen) or None


@dataclass
class Run:
    """What takes part in a run, and what is asked of it at the end."""

    data: L.LightningDataModule | None
    model: L.LightningModule
    pruning: L1Pruning | None
    trainer: L.Trainer
    identity: RunIdentity
    monitor: Monitor
    timer: Timer
    trajectory: Trajectory
    best: BestCheckpoint


def build(config: DictConfig, folder: RunFolder, identity: RunIdentity) -> Run:
    """Make what the configuration names."""
    if not is_whole(config.seed, 0):
        raise ValueError(f"seed={config.seed}: give a whole number from 0 up")
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = make_data(config.data)
    L.seed_everything(config.seed, workers=True, verbose=False)  # whatever the data have drawn
    model = make_model(config.model, data)
    monitor = find_monitor(config, model, data)
    OmegaConf.update(config, "monitor", {"name": monitor.name, "mode": monitor.mode})
    chosen = make_pruning(config.get("prune"), model, data)
    # It is the trainer's own where the run ends by time: Lightning has one, or none.
    longest = config.trainer.get("max_time")
    longest = OmegaConf.to_container(longest) if isinstance(longest, DictConfig) else longest
    timer, trajectory = Timer(longest), Trajectory(monitor.name)  # type: ignore[arg-type]
    best = BestCheckpoint(folder.path, monitor.name, monitor.mode)
    callbacks = [RunProgress(monitor=monitor), timer, StepSeed(config.seed)]
    callbacks += [*([chosen] if chosen else []), *make_callbacks(config.trainer.callbacks)]
    # The identity settles in when all before it have agreed; the last keeps what they know.
    callbacks += [
        identity,
        PathCheckpoint(folder.path, monitor.name, monitor.mode),
        trajectory,
        Baseline(),
        best,
        History(folder.path),
        LastCheckpoint(folder.path, config.save_every),
    ]
    trainer = make_trainer(
        without(config.trainer, "callbacks"),
        logger=make_logger(config.logger),
        callbacks=callbacks,
    )
    pruning = next(iter(pruning_of(trainer)), None)
    return Run(data, model, pruning, trainer, identity, monitor, timer, trajectory, best)


def finish(run: Run, folder: RunFolder, seed: int) -> None:
    """Test, and leave the results: in the folder, with the loggers, and the summary last.

    So a run that was stopped before the summary was there is finished by the next start.
    """
    trainer, network, monitor = run.trainer, network_of(run.model), run.monitor
    check_finite(dict(network.named_parameters()), "before the end")
    figures, calls = evaluated(run, network, folder.path)
    report = (run.pruning and run.pruning.report) or SparsityReport.of(run.model)
    summary = summary_of(figures, report, monitor, seed, run.timer.time_elapsed("train"))
    summary |= kept_by(trainer)
    run.identity.check_place(trainer)
    folder.keep(network, report)
    tested = (report.nonzero, summary[monitor.test]) if monitor.test in summary else None
    wandb.log_frontier(trainer.loggers, run.trajectory.points, tested, monitor)
    if best := run.best.figures(report):
        wandb.log_model(trainer.loggers, run.best.best_model_path, best, "best")
    wandb.log_model(trainer.loggers, folder.path / MODEL, summary, "latest")
    loggers.summarise(trainer.loggers, report, summary)
    wandb.finish(trainer.loggers)
    folder.end(summary)
    if is_first():
        print(f"\n{folder.path} has everything this run leaves.\n\n{report}\n{in_words(summary)}")
        if run.pruning and (outcomes := run.pruning.outcomes):
            print(f"\n{told(run.pruning.run.stages.plan, outcomes)}\n")
        if kept := summary.get(KEPT):
            print(f"{len(kept):,} features left, the largest first: {', '.join(kept)}")
        if run.pruning and calls:
            selects = KEPT in summary and selects_inputs(run.pruning)
            print(next_step(network, calls[0], folder.path, selects))


def next_step(network: nn.Module, call: Arguments, folder: Path, selects: bool) -> str:
    """How much smaller the network of a run gets, and by what.

    Args:
        network: the run's.
        call: of it.
        folder: of the run.
        selects: whether it was the run's inputs that were to become fewer.
    """
    if selects:
        line = outlook(network, call, narrowed)
        return f"without the other inputs: {line}; l1prune.deploy.select_inputs(model, x) makes it"
    command = shlex.join([*program("deploy"), str(folder), *trusted()])
    return f"deploy: {outlook(network, call)}; {command} writes it"


def evaluated(
    run: Run, network: nn.Module, folder: Path
) -> tuple[dict[str, Tensor], list[Arguments]]:
    """The figures of validation and test, and how the network was called for the latter.

    Where there is nothing to test, or nothing to test it on, those of validation alone.
    """
    trainer = run.trainer
    # A run that was stopped after its last epoch has no figures of its own yet, and one that has
    # gone back to an earlier network those of a later one.
    gone_back = run.pruning and not run.pruning.arrived
    if run.monitor.name not in trainer.callback_metrics or gone_back:
        trainer.validate(run.model, run.data, verbose=False)
    figures = {**trainer.callback_metrics}
    if not has_test(run.model, run.data):
        return figures, []
    test_path(trainer, run.model, run.data, folder)
    # The final weights, not the best epoch's: one model is counted, tested and saved.
    with first_call(network) as calls:
        trainer.test(run.model, run.data, verbose=False)
    return figures | trainer.callback_metrics, calls


def silence_advice() -> None:
    """No notes on hardware that was looked for, no advice for large data sets and clusters.

    And no line of code beside a warning of ours: there is no program of the user's own.
    Here the data are in memory and the run is alone. Called in every job: a sweep's may each have
    a process of its own.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # what it raises it says before
    warnings.formatwarning = format_in_words
    for message, kind in (
        (r"The '.*_dataloader' does not have many workers", UserWarning),
        (r"Checkpoint directory .* exists and is not empty", UserWarning),
        (r"The number of training batches .* is smaller than the logging", UserWarning),
        (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    ):
        warnings.filterwarnings("ignore", message, kind)


# Lightning starts this file again, for the other processes of `l1prune train`.
if __name__ == "__main__":
    main()
