"""MLflow and Comet, as far as Lightning's loggers and ours call them, kept in memory.

Signatures and refusals are those of their documentation:
https://mlflow.org/docs/latest/python_api/mlflow.client.html,
https://www.comet.com/docs/v2/api-and-sdk/python-sdk/reference/Experiment/
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import CometLogger, MLFlowLogger


@dataclass
class Kept:
    """What a service has been told of one run."""

    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[str, float, int | None]] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


class MlflowException(Exception):  # noqa: N818  # its name there
    """What the tracking server refuses with."""


class MlflowClient:
    """The client of a tracking server with one run."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.kept = Kept()

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="0", lifecycle_stage="active")

    def create_run(self, experiment_id: str, tags: Mapping[str, Any] | None = None) -> Any:
        return self.get_run("r")

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id="r", experiment_id="0"))

    def set_terminated(self, run_id: str, status: str | None = None) -> None:
        pass

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = ()
    ) -> None:
        for one in params:
            if self.kept.params.setdefault(one.key, one.value) != one.value:
                raise MlflowException(f"Changing param values is not allowed: {one.key}")
        self.kept.metrics += [(one.key, one.value, one.step) for one in metrics]

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        lengths = {len(column) for column in data.values()}
        if not artifact_file.endswith((".json", ".parquet")) or len(lengths) != 1:
            raise MlflowException(f"Provided file {artifact_file} or its columns do not fit")
        self.kept.tables[artifact_file] = data

    def log_figure(
        self, run_id: str, figure: Any, artifact_file: str, *, save_kwargs: Any = None
    ) -> None:
        self.kept.figures[artifact_file] = figure


class CometExperiment:
    """An experiment of Comet."""

    project_name = "general"

    def __init__(self) -> None:
        self.kept = Kept()

    def get_key(self) -> str:
        return "k" * 32

    def log_other(self, key: str, value: Any) -> None:
        pass

    def flush(self) -> bool:
        return True

    def log_table(
        self, filename: str, tabular_data: Any = None, headers: Any = False, **format_kwargs: Any
    ) -> None:
        if not filename.endswith((".csv", ".tsv", ".json", ".md", ".html")):
            raise ValueError(f"no format of a table: {filename}")
        self.kept.tables[filename] = (headers, tabular_data)

    def log_figure(
        self,
        figure_name: str | None = None,
        figure: Any = None,
        overwrite: bool = False,
        step: int | None = None,
    ) -> None:
        self.kept.figures[str(figure_name)] = figure

    def __internal_api__set_model_graph__(self, graph: Any, framework: str) -> None:
        pass

    def __internal_api__log_parameters__(
        self, parameters: Any, framework: str, flatten_nested: bool, source: str
    ) -> None:
        self.kept.params.update(parameters)

    def __internal_api__log_metrics__(
        self, metrics: Any, step: int | None, epoch: int | None, prefix: Any, framework: str
    ) -> None:
        self.kept.metrics += [(name, float(value), step) for name, value in metrics.items()]


def mlflow_logger(patch: pytest.MonkeyPatch) -> MLFlowLogger:
    """Lightning's logger for MLflow, on a server in memory."""
    mlflow, tracking = ModuleType("mlflow"), ModuleType("mlflow.tracking")
    entities, context = ModuleType("mlflow.entities"), ModuleType("mlflow.tracking.context")
    vars(mlflow).update(set_tracking_uri=lambda uri: None, tracking=tracking)
    vars(tracking).update(MlflowClient=MlflowClient, context=context)
    vars(context).update(resolve_tags=lambda tags: tags)
    vars(entities).update(Param=SimpleNamespace, Metric=SimpleNamespace)
    for module in (mlflow, tracking, context, entities):
        patch.setitem(sys.modules, module.__name__, module)
    patch.setattr("lightning.pytorch.loggers.mlflow._MLFLOW_AVAILABLE", True)
    return MLFlowLogger()


def comet_logger(patch: pytest.MonkeyPatch) -> CometLogger:
    """Lightning's logger for Comet, with an experiment in memory."""
    comet = ModuleType("comet_ml")
    config = SimpleNamespace(offline_directory=None)
    vars(comet).update(ExperimentConfig=lambda **_: config, start=lambda **_: CometExperiment())
    patch.setitem(sys.modules, "comet_ml", comet)
    patch.setattr("lightning.pytorch.loggers.comet._COMET_AVAILABLE", True)
    return CometLogger()
