"""Parts: what a configuration names is made, whoever's class it is."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import lightning as L
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from l1prune.checks import needing
from l1prune.commands.place import is_chosen
from l1prune.features.places import FIRST, are_all, count_inputs, places_of, variables_of
from l1prune.runs.figures import ALONE, validation_figures
from l1prune.runs.monitor import Monitor, settled
from l1prune.runs.pretrained import load_pretrained_
from l1prune.training.lightning import overrides


def is_max(mode: str | None) -> bool | None:
    """`${is_max:${monitor.mode}}` in a configuration: whether higher is better; None: not said."""
    return None if mode is None else mode == "max"


OmegaConf.register_new_resolver("is_max", is_max, replace=True)


def find_own_modules() -> None:
    """Let a configuration name what lies in the current directory, as `python -m` does."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)


def make_data(config: DictConfig | None) -> L.LightningDataModule | None:
    """The data; None where the module has loaders of its own, as `data=none` says.

    Raises:
        ValueError: it is no LightningDataModule.
        ImportError: nothing was said of data, and those of the default need an extra.
    """
    try:
        data = instantiate(config)
    except InstantiationException as error:
        if not isinstance(error.__cause__, ImportError) or is_chosen("data"):
            raise
        raise ImportError(
            f"{error.__cause__}; or give data of your own, as data=class data._target_=…, or "
            "data=none for a module with loaders of its own"
        ) from None
    if data is not None and not isinstance(data, L.LightningDataModule):
        raise ValueError(
            f"data._target_ makes a {type(data).__name__}, and must make a LightningDataModule; "
            "data=none is for a module with loaders of its own"
        )
    return data


def make_model(config: DictConfig, data: L.LightningDataModule | None = None) -> L.LightningModule:
    """The module, with the weights from the file `pretrained`, where one is given.

    A class that takes `pretrained` itself is given it instead. One that needs `data`, and is not
    told what, is given the data module: it may be as wide as what it learns.

    Raises:
        ValueError: it is no LightningModule, or the weights are of another.
        OSError: there is no such file.
    """
    given = config.get("pretrained")
    theirs = given is not None and _takes(config.get("_target_"), "pretrained")
    needs = "data" not in config and _takes(config.get("_target_"), "data", needed=True)
    made = instantiate(config if theirs else without(config, "pretrained"), _partial_=needs)
    model = made(data=data) if needs else made
    if not isinstance(model, L.LightningModule):
        raise ValueError(
            f"model._target_ makes a {type(model).__name__}, and must make a LightningModule"
        )
    if given is not None and not theirs:
        load_pretrained_(model, given)
    return model


def make_pruning(
    config: DictConfig | None, model: L.LightningModule, data: L.LightningDataModule | None
) -> L.Callback | None:
    """The callback that prunes, this library's or any other; None where the network stays dense.

    One that takes `groups`, and is told none, is given the variables of a table, each of which is
    one feature however many inputs it has, where the layer sees the table.
    """
    known = variables_of(data)
    asks = config is not None and _takes(config.get("_target_"), "groups")
    if config is None or not asks or config.get("groups") is not None:
        return cast("L.Callback | None", instantiate(config))
    seen = known if _sees(model, config.get("layer", FIRST), known) else None
    made = instantiate(without(config, "groups"), _partial_=True)
    return cast(L.Callback, made(groups=seen))


def _sees(model: nn.Module, layer: str, variables: Mapping[str, Sequence[int]] | None) -> bool:
    """Whether a layer has all inputs of these variables; one that is not there yet may."""
    try:
        return are_all(variables, count_inputs(places_of(model, layer)))
    except ValueError:  # what is wrong with it is said before the first step
        return True


def without(config: DictConfig, *names: str) -> DictConfig:
    """The same without some of its entries; what refers to others, still does."""
    rest = copy.deepcopy(config)
    with open_dict(rest):
        for name in names:
            rest.pop(name, None)
    return rest


def _takes(target: Any, argument: str, needed: bool = False) -> bool:
    """Whether a class or function has an argument, or, if asked, one that must be given."""
    known = inspect.signature(get_object(str(target))).parameters.get(argument)
    return known is not None and not (needed and known.default is not known.empty)


def make_callbacks(config: Any) -> list[L.Callback]:
    """Callbacks of one's own, from a list, or by names that say nothing but which is which."""
    made = instantiate(config) or []
    return list(made.values() if isinstance(made, Mapping | DictConfig) else made)


def make_logger(config: DictConfig | None) -> Any:
    """The trainer's logger, or loggers; False where there is none.

    Raises:
        ImportError: it is missing; the message names the extra.
    """
    kind = str(config.get("_target_")) if isinstance(config, DictConfig) else ""
    if kind.endswith("TensorBoardLogger") and find_spec("tensorboardX") is None:
        with needing("tensorboard", "the logger TensorBoard"):
            importlib.import_module("tensorboard")  # which it looks for when it is made
    return instantiate(config) or False


def make_trainer(config: DictConfig, **others: Any) -> L.Trainer:
    """The trainer; what is given here wins over the configuration."""
    trainer: L.Trainer = instantiate(config, _partial_=True)(**others)
    return trainer


def find_monitor(
    config: DictConfig, model: L.LightningModule, data: L.LightningDataModule | None
) -> Monitor:
    """The metric by which the run is judged: as `monitor` says, or found.

    A module that cannot be validated in one process, before the run, is taken at its word.

    Raises:
        ValueError: it is not logged, or there is none to be found; it says what is logged.
        Exception: what the module raises where nothing is said.
    """
    name, mode = config.monitor.name, config.monitor.mode
    alone = without(config.trainer, "callbacks", *ALONE)
    try:
        logged = validation_figures(model, data, partial(make_trainer, alone))
    except Exception:
        if name is None:
            raise
        return Monitor.of(name, mode)
    return settled(logged, name, mode)


def network_of(module: L.LightningModule) -> nn.Module:
    """The plain network of a module: its `network`, if that has all of the weights, or itself."""
    network = getattr(module, "network", None)
    if isinstance(network, nn.Module):
        theirs = {id(weight) for weight in network.parameters()}
        if theirs == {id(weight) for weight in module.parameters()}:
            return network
    return module


def has_test(module: L.LightningModule, data: L.LightningDataModule | None) -> bool:
    """Whether there is something to test, and a test set to test it on."""
    return overrides(module, "test_step") and overrides(data or module, "test_dataloader")
