"""Source: a run, or a file of weights, and what makes its network and its data again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import yaml  # type: ignore[import-untyped]
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from l1prune.commands.parts import find_own_modules, make_data, make_model, without
from l1prune.commands.place import CONF
from l1prune.deploy.graph import first_line
from l1prune.runs.files import read_json, read_yaml
from l1prune.runs.folder import MODEL
from l1prune.runs.monitor import Monitor
from l1prune.runs.overrides import spelled_out
from l1prune.runs.points import CONFIG, SUMMARY
from l1prune.runs.summary import monitor_of

PRETRAINED = "pretrained"
ROLES = ("data", "model")
"""What of a configuration is made again."""


@dataclass(frozen=True)
class Source:
    """What is deployed: weights, and the configuration of what they are of.

    Attributes:
        weights: the file.
        config: with `data` and `model` at least.
    """

    weights: Path
    config: DictConfig

    @classmethod
    def of(cls, path: Path, settings: Sequence[str], own: Path | None = None) -> Source:
        """The run in a folder, or the file of weights.

        Args:
            path: of either.
            settings: as train.py takes them, for weights alone; for a run, single values.
            own: a folder of configurations besides `conf/`; what it names is trusted as that is.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no run, one that has not ended, or the settings are not right.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or directory")
        if path.is_dir():
            check_ended(path)
            return cls(path / MODEL, configuration_of(path / CONFIG, settings, own))
        beside = path.parent / CONFIG
        if not settings and not beside.exists():
            raise ValueError(
                f"{path}: weights without a {CONFIG} beside them; say what they are of, as "
                "model=mlp data=digits"
            )
        config = composed(settings, own) if settings else configuration_of(beside, (), own)
        return cls(path, config)

    @property
    def monitor(self) -> Monitor | None:
        """By what the run was judged; None where nothing beside the weights says it."""
        try:
            summary = read_json(self.weights.parent / SUMMARY)
            return monitor_of(summary)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def made(self) -> tuple[L.LightningModule, L.LightningDataModule | None]:
        """The module and the data, its network untrained; None: the module has loaders itself.

        Raises:
            ValueError: they cannot be made.
        """
        find_own_modules()
        for role in ROLES:
            if not isinstance(self.config[role], DictConfig | None):
                raise ValueError(f"what {self.weights} is of cannot be made: {role} names nothing")
        try:
            data = make_data(self.config.data)
            return make_model(without(self.config.model, PRETRAINED), data), data
        except (InstantiationException, OmegaConfBaseException, ValueError) as error:
            cause: BaseException = error
            while isinstance(cause, InstantiationException) and cause.__cause__:
                cause = cause.__cause__
            raise ValueError(f"what {self.weights} is of cannot be made: {cause}") from error


def check_ended(run: Path) -> None:
    """Refuse a folder without a run that has ended.

    Raises:
        ValueError: it says what is missing.
    """
    if not (run / CONFIG).exists():
        raise ValueError(f"{run}: no run, it has no {CONFIG}")
    if not (run / SUMMARY).exists():
        raise ValueError(
            f"{run}: a run that has not ended, or diverged: it has no {SUMMARY}; the command that "
            "began it goes on with it"
        )
    if not (run / MODEL).exists():
        raise ValueError(f"{run}: the run has lost its {MODEL}")


def configuration_of(file: Path, settings: Sequence[str], own: Path | None = None) -> DictConfig:
    """The configuration that a run has left, with some values changed.

    Whoever could write in the folder has written it, and what it names would be called: only what
    `conf/` names too in the same role, a folder of configurations of one's own, or the command
    line.

    Raises:
        ValueError: it is none, names something else, or a setting is no single value.
    """
    tree = read_yaml(file)
    if not isinstance(tree, dict) or not {*ROLES} <= tree.keys():
        raise ValueError(f"{file}: not the configuration of a run")
    for setting in settings:
        name, equals, _ = setting.partition("=")
        if not equals or "." not in name:
            raise ValueError(f"{setting!r}: give single values, as data.path=FOLDER")
    try:
        changes = OmegaConf.from_dotlist(list(settings))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"{' '.join(settings)}: {first_line(error)}") from error
    try:
        config = OmegaConf.merge(OmegaConf.create(tree), changes)
        assert isinstance(config, DictConfig)
        for role in ROLES:
            trusted = {*targets_in(changes.get(role)), *known_targets(role, own)}
            if named := [one for one in targets_in(config[role]) if one not in trusted]:
                raise ValueError(
                    f"{file} names {named[0]}, which conf/{role}/ does not, and which would be "
                    f"called: if you trust it, give it as a setting too, as {role}._target_=…, or "
                    "the folder of configurations that names it, as --config-dir FOLDER"
                )
    except OmegaConfBaseException as error:
        raise ValueError(f"{file}: {first_line(error)}") from error
    return config


def known_targets(role: str, own: Path | None = None) -> Iterator[str]:
    """All that `conf/` would have called as the data, or as the model; a logger is neither.

    Args:
        role: one of `ROLES`.
        own: another folder of the kind.
    """
    for folder in (CONF, own) if own else (CONF,):
        for file in folder.glob(f"{role}/*.yaml"):
            yield from targets_in(read_yaml(file))
        for file in (*folder.glob("*.yaml"), *folder.glob("experiment/*.yaml")):
            tree = read_yaml(file)
            yield from targets_in(tree.get(role) if isinstance(tree, dict) else None)


def targets_in(tree: Any) -> Iterator[str]:
    """All that a configuration would have called."""
    if isinstance(tree, Mapping | DictConfig):
        for name, value in tree.items():
            if name == "_target_":
                yield str(value)
            else:
                yield from targets_in(value)
    elif isinstance(tree, list) or OmegaConf.is_list(tree):
        for value in tree:
            yield from targets_in(value)


def composed(settings: Sequence[str], own: Path | None = None) -> DictConfig:
    """The configuration that train.py would be given; `own` is its `--config-dir`.

    Raises:
        ValueError: there is no such choice or value.
    """
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            found = [f"hydra.searchpath=[{own.absolute().as_uri()}]"] if own else []
            return compose("train", [*found, *spelled_out(settings)])
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"{' '.join(settings)}: {first_line(error)}") from error
