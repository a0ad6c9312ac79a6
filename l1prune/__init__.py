"""Sparsity-driven pruning for PyTorch Lightning: L1 pressure, a cut, and what is left, tuned.

Names are loaded when they are asked for, so that what needs no Lightning works without it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l1prune.channels.cost import Cost as Cost
    from l1prune.channels.penalty import ChannelL1 as ChannelL1
    from l1prune.cuts.counts import Count as Count
    from l1prune.cuts.criteria import Criterion as Criterion
    from l1prune.cuts.criteria import Size as Size
    from l1prune.cuts.masks import Cut as Cut
    from l1prune.cuts.plans import Budget as Budget
    from l1prune.cuts.plans import Plan as Plan
    from l1prune.cuts.plans import SparsityPath as SparsityPath
    from l1prune.cuts.refit import Refit as Refit
    from l1prune.cuts.saliency import Saliency as Saliency
    from l1prune.cuts.scopes import LAMP as LAMP
    from l1prune.cuts.scopes import Global as Global
    from l1prune.cuts.scopes import PerLayer as PerLayer
    from l1prune.cuts.scopes import PerOutput as PerOutput
    from l1prune.cuts.scopes import Relative as Relative
    from l1prune.cuts.scopes import Scope as Scope
    from l1prune.cuts.semi_structured import SemiStructured as SemiStructured
    from l1prune.cuts.thresholds import Magnitude as Magnitude
    from l1prune.cuts.thresholds import Sparsity as Sparsity
    from l1prune.cuts.thresholds import Threshold as Threshold
    from l1prune.cuts.wanda import Wanda as Wanda
    from l1prune.deploy.execution import SparseExecution as SparseExecution
    from l1prune.deploy.execution import sparse as sparse
    from l1prune.features.callback import FeaturePath as FeaturePath
    from l1prune.features.estimators import L1NetClassifier as L1NetClassifier
    from l1prune.features.estimators import L1NetRegressor as L1NetRegressor
    from l1prune.features.penalty import FeaturePenalty as FeaturePenalty
    from l1prune.features.pruning import keep_features as keep_features
    from l1prune.features.selector import L1FeatureSelector as L1FeatureSelector
    from l1prune.penalties.convex import L1 as L1
    from l1prune.penalties.convex import L2 as L2
    from l1prune.penalties.convex import ElasticNet as ElasticNet
    from l1prune.penalties.group import GroupL1 as GroupL1
    from l1prune.penalties.group_nonconvex import GroupLogSum as GroupLogSum
    from l1prune.penalties.group_nonconvex import GroupMCP as GroupMCP
    from l1prune.penalties.group_nonconvex import GroupSCAD as GroupSCAD
    from l1prune.penalties.nonconvex import MCP as MCP
    from l1prune.penalties.nonconvex import SCAD as SCAD
    from l1prune.penalties.nonconvex import LogSum as LogSum
    from l1prune.penalties.nonconvex import TransformedL1 as TransformedL1
    from l1prune.penalties.penalty import Penalty as Penalty
    from l1prune.pressure.forms import Form as Form
    from l1prune.pressure.forms import Proximal as Proximal
    from l1prune.pressure.metrics import Euclidean as Euclidean
    from l1prune.pressure.metrics import Metric as Metric
    from l1prune.pressure.metrics import OptimizerMetric as OptimizerMetric
    from l1prune.pressure.pressure import Pressure as Pressure
    from l1prune.pressure.schedules import ByPasses as ByPasses
    from l1prune.pressure.schedules import Constant as Constant
    from l1prune.pressure.schedules import Cosine as Cosine
    from l1prune.pressure.schedules import Cubic as Cubic
    from l1prune.pressure.schedules import Join as Join
    from l1prune.pressure.schedules import Linear as Linear
    from l1prune.pressure.schedules import Schedule as Schedule
    from l1prune.pressure.schedules import WarmupHoldDecay as WarmupHoldDecay
    from l1prune.pressure.subgradient import Subgradient as Subgradient
    from l1prune.runs.best import BestCheckpoint as BestCheckpoint
    from l1prune.runs.hub import push_to_hub as push_to_hub
    from l1prune.runs.path import PathCheckpoint as PathCheckpoint
    from l1prune.runs.record import RunRecord as RunRecord
    from l1prune.training.callback import L1Pruning as L1Pruning
    from l1prune.training.follow import Follow as Follow
    from l1prune.training.pruning import Pruning as Pruning
    from l1prune.training.pruning import PruningRun as PruningRun
    from l1prune.training.rates import HoldPeak as HoldPeak
    from l1prune.training.resume.last import LastCheckpoint as LastCheckpoint
    from l1prune.training.resume.last import last_checkpoint as last_checkpoint
    from l1prune.training.resume.loader import ResumableLoader as ResumableLoader
    from l1prune.training.resume.loader import Shuffle as Shuffle
    from l1prune.training.resume.randomness import StepSeed as StepSeed
    from l1prune.training.rounds import once as once
    from l1prune.training.rounds import rounds as rounds
    from l1prune.weights.report import SparsityReport as SparsityReport
    from l1prune.weights.rules import ByName as ByName
    from l1prune.weights.rules import ByRegex as ByRegex
    from l1prune.weights.rules import ByType as ByType
    from l1prune.weights.rules import Except as Except
    from l1prune.weights.rules import First as First
    from l1prune.weights.targets import find_targets as find_targets
    from l1prune.weights.warning import PruningWarning as PruningWarning

    __version__: str

ROOMS = {
    "channels.cost": "Cost",
    "channels.penalty": "ChannelL1",
    "cuts.counts": "Count",
    "cuts.criteria": "Criterion Size",
    "cuts.masks": "Cut",
    "cuts.plans": "Budget Plan SparsityPath",
    "cuts.refit": "Refit",
    "cuts.saliency": "Saliency",
    "cuts.scopes": "Global LAMP PerLayer PerOutput Relative Scope",
    "cuts.semi_structured": "SemiStructured",
    "cuts.thresholds": "Magnitude Sparsity Threshold",
    "cuts.wanda": "Wanda",
    "deploy.execution": "SparseExecution sparse",
    "features.callback": "FeaturePath",
    "features.estimators": "L1NetClassifier L1NetRegressor",
    "features.penalty": "FeaturePenalty",
    "features.pruning": "keep_features",
    "features.selector": "L1FeatureSelector",
    "penalties.convex": "ElasticNet L1 L2",
    "penalties.group": "GroupL1",
    "penalties.group_nonconvex": "GroupLogSum GroupMCP GroupSCAD",
    "penalties.nonconvex": "LogSum MCP SCAD TransformedL1",
    "penalties.penalty": "Penalty",
    "pressure.forms": "Form Proximal",
    "pressure.metrics": "Euclidean Metric OptimizerMetric",
    "pressure.pressure": "Pressure",
    "pressure.schedules": "ByPasses Constant Cosine Cubic Join Linear Schedule WarmupHoldDecay",
    "pressure.subgradient": "Subgradient",
    "runs.best": "BestCheckpoint",
    "runs.hub": "push_to_hub",
    "runs.path": "PathCheckpoint",
    "runs.record": "RunRecord",
    "training.callback": "L1Pruning",
    "training.pruning": "Pruning PruningRun",
    "training.rates": "HoldPeak",
    "training.rounds": "once rounds",
    "training.follow": "Follow",
    "training.resume.last": "LastCheckpoint last_checkpoint",
    "training.resume.loader": "ResumableLoader Shuffle",
    "training.resume.randomness": "StepSeed",
    "weights.report": "SparsityReport",
    "weights.rules": "ByName ByRegex ByType Except First",
    "weights.targets": "find_targets",
    "weights.warning": "PruningWarning",
}
"""Where the public names live, as a test compares with the imports above."""

_ROOM_OF = {name: room for room, names in ROOMS.items() for name in names.split()}

_NEEDS = {"features.estimators": "sklearn", "features.selector": "sklearn"}
"""What rooms need that a plain installation does not bring: without it, `import *` does without."""


def _is_complete(room: str) -> bool:
    return room not in _NEEDS or importlib.util.find_spec(_NEEDS[room]) is not None


__all__ = sorted([*(name for name, room in _ROOM_OF.items() if _is_complete(room)), "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("l1prune")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'l1prune' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"l1prune.{_ROOM_OF[name]}"), name)
    globals()[name] = value  # from now on found without asking
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
