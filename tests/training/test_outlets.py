"""Each logger is told in its own words: those that its documentation has."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from services import comet_logger, mlflow_logger
from tasks import Task, fit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from l1prune import L1Pruning
from l1prune.training import loggers
from l1prune.training.outlets import outlets
from l1prune.training.validations import Validations
from l1prune.weights.report import SparsityReport


class MLflowClient:
    """As documented: https://mlflow.org/docs/latest/python_api/mlflow.client.html"""

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        """Takes columns by name, or a DataFrame."""

    def log_figure(self, run_id: str, figure: Any, artifact_file: str) -> None:
        """Takes a figure of matplotlib."""


class CometExperiment:
    """As documented: https://www.comet.com/docs/v2/api-and-sdk/python-sdk/reference/Experiment/"""

    def log_table(self, filename: str, tabular_data: Any = None, headers: Any = False) -> None:
        """Takes a list of rows, and their names."""

    def log_figure(self, figure_name: str, figure: Any, overwrite: bool = False) -> None:
        """Takes a figure of matplotlib."""


class StandIn(Logger):
    """A logger whose experiment refuses whatever its documentation does not have."""

    def __init__(self, api: type, **more: str) -> None:
        super().__init__()
        self._experiment = create_autospec(api, instance=True)  # which checks the arguments too
        self.numbers: list[tuple[dict[str, float], int | None]] = []
        self.told: dict[str, Any] = {}
        self.__dict__.update(more)

    @property
    def experiment(self) -> Any:
        return self._experiment

    @property
    def name(self) -> str:
        return "stand-in"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.numbers.append((metrics, step))

    def log_hyperparams(self, params: dict[str, Any]) -> None:  # type: ignore[override]
        self.told |= params


LAYERS = [["weight", "2×4", 8, 2, 0.75, ""], ["bias", "", 2, 2, 0.0, "bias or scale"]]
"""What is told of the layers of `report()`, one that was left alone among them."""


def report() -> SparsityReport:
    model = nn.Linear(4, 2)
    model.weight.data.fill_(1.0)[:, :3].zero_()
    return SparsityReport.of(model)


def tell(logger: Logger) -> None:
    validations = Validations()
    validations.note(8, False, {"val/acc": 0.9})
    validations.note(2, True, {"val/acc": 0.8})
    loggers.introduce([logger], "l1", {"threshold": "Sparsity(0.5)"})
    loggers.log_layers([logger], report())
    loggers.log_frontier([logger], validations)
    loggers.log_point([logger], 2, {"test/acc": 0.7, "train/loss": 1.0})
    loggers.summarise([logger], report(), {"test/acc": 0.7})


def test_mlflow_takes_artifacts_of_its_run() -> None:
    logger = StandIn(MLflowClient, run_id="r")
    tell(logger)
    layers, points = (call.args for call in logger.experiment.log_table.call_args_list)
    assert layers == (
        "r",
        dict(zip(loggers.COLUMNS, map(list, zip(*LAYERS, strict=True)), strict=True)),
        "params/layers.json",
    )
    assert points[1] == {"prunable weights left": [2], "figure": ["val/acc"], "value": [0.8]}
    run, _, file = logger.experiment.log_figure.call_args.args
    assert (run, file) == ("r", "frontier/picture.png")
    check_numbers(logger)


def test_comet_takes_files_and_figures() -> None:
    logger = StandIn(CometExperiment)
    tell(logger)
    layers, _ = logger.experiment.log_table.call_args_list
    assert layers.args == ("params-layers.csv", LAYERS)
    assert layers.kwargs == {"headers": [*loggers.COLUMNS]}
    assert logger.experiment.log_figure.call_args.kwargs["figure_name"] == "frontier/picture"
    check_numbers(logger)


def check_numbers(logger: StandIn) -> None:
    """A point's step is the number of weights left; the final figures have none."""
    assert logger.numbers[:2] == [({"frontier/val/acc": 0.8}, 2), ({"frontier/test/acc": 0.7}, 2)]
    (final, step), *others = logger.numbers[2:]
    assert (final["final/test/acc"], final["final/params/nonzero"], step) == (0.7, 2, None)
    assert not others and logger.told["prune.threshold"] == "Sparsity(0.5)"


def test_tensorboard_takes_text_images_points_and_hyper_parameters(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    tell(logger)
    logger.finalize("success")
    found: dict[str, Any] = {"scalars": {}, "images": [], "tensors": []}
    for folder in {file.parent for file in tmp_path.rglob("events*")}:
        events = EventAccumulator(str(folder)).Reload()
        tags = events.Tags()
        found["images"] += tags["images"]
        found["tensors"] += tags["tensors"]
        for tag in tags["scalars"]:
            found["scalars"][tag] = [(one.step, one.value) for one in events.Scalars(tag)]
    assert found["images"] == ["frontier/picture"]
    assert {"params/layers/text_summary", "frontier/points/text_summary"} <= {*found["tensors"]}
    assert found["scalars"]["frontier/val/acc"] == [(2, pytest.approx(0.8))]
    assert found["scalars"]["test/acc"][-1][1] == pytest.approx(0.7)


def test_files_lie_beside_those_of_the_logger(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    tell(logger)
    folder = Path(logger.log_dir)
    with open(folder / "params-layers.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1:] == [[str(cell) for cell in row] for row in LAYERS]
    with open(folder / "final.csv", newline="", encoding="utf-8") as file:
        assert ["test/acc", "0.7"] in list(csv.reader(file))
    assert (folder / "frontier-picture.png").read_bytes().startswith(b"\x89PNG")


def test_tables_are_for_people_with_the_digits_that_count(tmp_path: Path) -> None:
    awkward = [0.972900390625, 0.16039390861988068, 1 / 3e9, 12345678.0, 12345678, math.inf, "0.25"]
    told = ["0.9729", "0.160394", "3.33333e-10", "12345678.0", "12345678", "inf", "0.25"]
    (files,) = outlets([CSVLogger(tmp_path)])
    files.table("a", ["value"], [[one] for one in awkward])
    files.final({"val/mse": awkward[1]})
    (folder,) = {file.parent for file in tmp_path.rglob("*.csv")}
    assert (folder / "a.csv").read_text(encoding="utf-8").split()[1:] == told
    assert "val/mse,0.160394" in (folder / "final.csv").read_text(encoding="utf-8")


def test_a_logger_that_takes_numbers_alone_is_left_alone() -> None:
    assert list(outlets([StandIn(object)])) == []


class Named(Task):
    """A module with settings of its own, one of them called as one of ours."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__()
        self.save_hyperparameters()


@pytest.mark.parametrize("make", [mlflow_logger, comet_logger])
def test_a_whole_run_reaches_a_service(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = make(monkeypatch)
    fit(Named(), L1Pruning(), logger=logger)
    kept = logger.experiment.kept
    tables = {name.split(".")[0].replace("/", "-"): table for name, table in kept.tables.items()}
    assert tables.keys() == {"params-layers", "frontier-points"}
    assert "net.0.weight" in str(tables["params-layers"])
    assert [name.split(".")[0] for name in kept.figures] == ["frontier/picture"]
    told = {name: (value, step) for name, value, step in kept.metrics}
    assert {"params/nonzero", "params/sparsity", "prune/strength", "val/loss"} <= told.keys()
    assert told["final/params/nonzero"][0] == 15 and told["frontier/val/loss"][1] == 15
    assert "sparsity=0.95" in kept.params["prune.threshold"]
    assert str(kept.params["seed"]) == "7"  # the module's, not ours
