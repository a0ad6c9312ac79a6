"""Trains one network, dense or pruned: python scripts/train.py [+prune=l1] [name=value ...]

--help explains the choices; conf/ holds them.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_model

from l1prune import SparsityReport, tracking
from l1prune.zoo import BestCheckpoint, RunProgress

# Lightning's notes on hardware it looked for, and advice for large data sets and clusters: here
# the data are in memory and the run is alone.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", r"The '.*_dataloader' does not have many workers")
warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")
warnings.filterwarnings("ignore", r"The number of training batches .* is smaller than the logging")
warnings.filterwarnings(
    "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> None:
    """Train, test once, and leave the results in the run directory."""
    folder = Path(config.run_dir)
    with refusing(Exception):
        torch.set_num_threads(config.threads)
        data = instantiate(config.data)
        L.seed_everything(config.seed, workers=True, verbose=False)
        model = instantiate(config.model)
        pruning = instantiate(config.get("prune"))
        trainer = instantiate(config.trainer, _partial_=True)(
            logger=instantiate(config.logger) or False,
            callbacks=[RunProgress(), BestCheckpoint(folder), *([pruning] if pruning else [])],
        )
        settings = OmegaConf.to_container(config, resolve=True)
        tracking.log_config(trainer.loggers, settings)
        if not pruning:
            note_parameters(trainer, SparsityReport.of(model))

    start = time.perf_counter()
    with refusing(ValueError, trained=lambda: trainer.global_step > 0):
        trainer.fit(model, data)
        if not trainer.global_step:
            raise ValueError(
                f"trainer.max_epochs={trainer.max_epochs}, trainer.max_steps={trainer.max_steps}: "
                "that is no training at all; give at least one epoch"
            )
    seconds = time.perf_counter() - start
    validation = trainer.callback_metrics["val/accuracy"]
    # The final weights, not the best epoch's: one model is counted, tested and saved.
    trainer.test(model, data, verbose=False)

    report = pruning.report if pruning else SparsityReport.of(model)
    summary = {
        "test/accuracy": round(trainer.callback_metrics["test/accuracy"].item(), 6),
        "val/accuracy": round(validation.item(), 6),
        **report.to_dict(),
        "seed": config.seed,
        "seconds": round(seconds, 2),
    }
    tracking.summarise(trainer.loggers, report, summary)
    tracking.finish(trainer.loggers)
    leave(folder, settings, model.network, report, summary)
    print(f"\n{folder} has everything this run leaves.\n\n{report}\n{in_words(summary)}")


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
        raise SystemExit(f"Cannot train like this: {cause}") from None


def note_parameters(trainer: L.Trainer, report: SparsityReport) -> None:
    """Let a dense run appear beside pruned ones, whose callback notes its own parameters."""
    tracking.define_axes(trainer.loggers)
    for logger in trainer.loggers:
        logger.log_metrics({"params/nonzero": float(report.nonzero)}, step=0)


def leave(
    folder: Path,
    settings: Any,
    network: torch.nn.Module,
    report: SparsityReport,
    summary: dict[str, float],
) -> None:
    """Write what a run leaves, but for the best checkpoint, which is there already."""
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    OmegaConf.save(settings, folder / "config.yaml")
    report.to_csv(folder / "report.csv")
    save_model(network, str(folder / "model.safetensors"))


def in_words(summary: dict[str, float]) -> str:
    """The accuracy of a run and what it took, on one line."""
    return (
        f"test accuracy {100 * summary['test/accuracy']:.2f} %, "
        f"validation {100 * summary['val/accuracy']:.2f} %, "
        f"{summary['seconds']:.0f} s of training"
    )


if __name__ == "__main__":
    main()
