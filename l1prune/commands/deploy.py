"""Deploy a run: its network made smaller, in several files, each measured and tested again."""

from __future__ import annotations

import argparse
import copy
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from torch import nn

from l1prune.checks import DivergenceError
from l1prune.commands.parts import has_test, network_of
from l1prune.commands.source import Source
from l1prune.commands.train import silence_advice
from l1prune.deploy.compact import compact
from l1prune.deploy.graph import first_line
from l1prune.deploy.inputs import Arguments, example_of, first_call, in_batches
from l1prune.deploy.latency import BATCHES
from l1prune.deploy.variants import (
    FORMS,
    ONNX,
    Maker,
    Run,
    Variant,
    compared,
    counted,
    filled,
    timed,
)
from l1prune.runs import bars, wandb
from l1prune.runs.costs import FILE, FOLDER, costs_of
from l1prune.runs.deployment import PICTURE, TRAINED, Deployment, Measurement
from l1prune.runs.escapes import LINE, complain, printable, show
from l1prune.runs.files import is_own_folder
from l1prune.weights.finite import check_finite


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the forms, print the table; 2 when there is nothing that can be deployed."""
    options = read(arguments)
    silence_advice()
    torch.set_num_threads(1)  # as onnxruntime's: latencies are compared
    try:
        source = Source.of(options.run, options.settings, options.config_dir)
        folder = options.output or source.weights.parent / FOLDER
        deployment = deploy(source, folder)
    except (DivergenceError, OSError, RuntimeError, ValueError) as error:
        complain(error)
        return 2
    picture = f" and {PICTURE}" if (folder / PICTURE).exists() else ""
    show(f"\n{deployment}\n\n{folder} has all of it, {FILE}{picture}.")
    tell(source, deployment)
    return 0


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Make the network of a run smaller and write it in several forms: files of "
        "weights, ONNX, torch.export. Each is read again, timed side by side with the original, "
        "and tested on the test set, or validated where there is none."
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="the folder of a run, or a file of weights"
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="NAME=VALUE",
        help="for a file of weights without a run, what train.py was given: model=mlp data=digits; "
        "for a run, single values that are to be others now, as data.path=FOLDER",
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="FOLDER",
        help="configurations of your own, as for train.py: what they name may be called",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to; by default deploy/ beside it"
    )
    return parser.parse_intermixed_args(arguments)


def deploy(source: Source, folder: Path) -> Deployment:
    """Write all forms of a network into a folder, measure each, and leave the figures beside them.

    Args:
        source: the weights and what they are of.
        folder: made if it is not there.

    Raises:
        DivergenceError: the weights are no numbers.
        OSError, ValueError: something is missing, or wrong; it says what.
    """
    module, data = source.made()
    untrained = copy.deepcopy(network_of(module))
    network = filled(copy.deepcopy(untrained), source.weights)
    check_finite(dict(network.named_parameters()), f"before {source.weights} was written")
    tests = Tests(module, data, network)
    with first_call(network) as calls:
        try:
            tests(network)
        except MisconfigurationException as error:
            raise ValueError(f"{source.weights} cannot be tested: {first_line(error)}") from error
    if not calls:
        raise ValueError(
            f"{type(module).__name__}: its {tests.step} asks nothing of its `network`, or never "
            "calls itself, as self(inputs)"
        )
    call = in_batches(calls[0], 2)
    prepare(folder)
    maker = Maker(folder, call, lambda: copy.deepcopy(untrained))
    variants = [Variant(TRAINED, source.weights, network, network), *forms(network, maker)]
    notes = [f"{', '.join(names)}: {reason}" for reason, names in maker.missing.items()]
    judged = source.monitor
    deployment = Deployment(
        measured(variants, call, tests), notes, machine(), judged.test if judged else None
    )
    deployment.write(folder)
    try:
        bars.draw(deployment, folder / PICTURE)
    except ImportError as error:  # the files are what it is for
        show(f"no {PICTURE}: {error}", sys.stderr)
    return deployment


def prepare(folder: Path) -> None:
    """Make the folder, or see to it that what is written there stays there.

    Raises:
        ValueError: there are links, pipes or devices in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_own_folder(folder):
        raise ValueError(f"{folder}: there is a link, a pipe or a device in it; give --output")
    (folder / FILE).unlink(missing_ok=True)  # of what is about to be replaced


def forms(network: nn.Module, maker: Maker) -> list[Variant]:
    """The network as it is in onnxruntime, and the smaller one in all forms."""
    try:
        small = compact(network, example_of(maker.call)).model
    except (RuntimeError, ValueError) as error:
        maker.missing[str(error)] = ["compact"]
        return maker.made(TRAINED, network, FORMS[1:])
    return [*maker.made(TRAINED, network, [ONNX]), *maker.made("compact", small, FORMS)]


class Tests:
    """Tests a network, whatever runs it, by its module on the test set of its data.

    Where there is no test set, or no `test_step`, it validates.

    Args:
        module: logs figures in `test_step`; what is tested stands in for its network, or, where it
            has none, for its own `forward`.
        data: with its test set; None where the module has it.
        network: the trained one, whose weights all that is not stood in for has.
    """

    def __init__(
        self, module: L.LightningModule, data: L.LightningDataModule | None, network: nn.Module
    ) -> None:
        self.module, self.data = module, data
        self.is_whole = network_of(module) is module
        if self.is_whole:
            own = module.state_dict()
            fits = {n: w for n, w in network.state_dict().items() if own[n].shape == w.shape}
            module.load_state_dict(fits, strict=False)
        self.step = "test_step" if has_test(module, data) else "validation_step"
        self.trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            inference_mode=False,  # in which some sparse kernels do not run
        )

    def __call__(self, run: Run) -> Mapping[str, float]:
        """The figures that the module logs."""
        answer = Elsewhere(run)
        if self.is_whole:
            object.__setattr__(self.module, "forward", answer.forward)
        else:
            self.module.network = answer
        evaluate = self.trainer.test if self.step == "test_step" else self.trainer.validate
        [figures] = evaluate(self.module, self.data, verbose=False)
        return {name: round(float(figure), 6) for name, figure in figures.items()}

    def tried(self, run: Run) -> Mapping[str, float]:
        """The same; nothing where what runs the network does not take batches like the data's."""
        try:
            return self(run)
        except (RuntimeError, ValueError):
            return {}


class Elsewhere(nn.Module):
    """A network of which only the answers are here: not every kind has modes and devices."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.answer: Callable[..., Any] = lambda *args, **kwargs: run(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.answer(*args, **kwargs)


def measured(variants: Sequence[Variant], call: Arguments, tests: Tests) -> list[Measurement]:
    """What each variant is, costs, returns and gets right; the first is the original."""
    original = variants[0]
    latencies = timed(variants, call, BATCHES)
    found = []
    for variant in variants:
        parameters, products = counted(variant.network, call)
        same = compared(original.network, variant.run, call)
        found.append(
            Measurement(
                name=variant.name,
                file=variant.file.name,
                nbytes=variant.file.stat().st_size,
                parameters=parameters,
                macs=products,
                absolute=same.absolute,
                relative=same.relative,
                latency={
                    n: own[variant.name] for n, own in latencies.items() if variant.name in own
                },
                figures=tests.tried(variant.run),
            )
        )
    return found


def machine() -> dict[str, Any]:
    """What latencies depend on."""
    found: dict[str, Any] = {"processor": platform.processor() or platform.machine(), "threads": 1}
    for package in ("l1prune", "torch", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def tell(source: Source, deployment: Deployment) -> None:
    """Put the costs into the summary of the run on W&B, if that is where it took notes."""
    logger = source.config.get("logger")
    if not isinstance(logger, DictConfig) or "offline" not in logger:
        return
    costs = costs_of(deployment.to_dict())
    try:
        wandb.log_costs(source.weights.parent, costs, logger.project, logger.offline)
    except Exception as error:  # a server that does not answer takes nothing from the files
        show(f"W&B was not told: {printable(first_line(error), LINE)}", sys.stderr)
