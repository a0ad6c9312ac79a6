"""Sparsity-driven pruning for PyTorch Lightning: L1 pressure, a cut, and what is left, tuned."""

from l1prune.callback import L1Pruning
from l1prune.clock import rounds
from l1prune.controllers import Follow
from l1prune.forms import Proximal, Subgradient
from l1prune.loader import ResumableLoader, Shuffle
from l1prune.masks import Cut
from l1prune.metrics import Euclidean, OptimizerMetric
from l1prune.path import PathCheckpoint
from l1prune.penalties import L1, L2, MCP, ElasticNet, GroupL1, LogSum, TransformedL1
from l1prune.pressure import Pressure
from l1prune.report import SparsityReport
from l1prune.resume import LastCheckpoint, StepSeed, last_checkpoint
from l1prune.rules import ByName, ByRegex, ByType
from l1prune.scopes import LAMP, Global, PerLayer, Relative, Saliency
from l1prune.stages import Budget, SparsityPath
from l1prune.strength import ByPasses
from l1prune.targets import find_targets
from l1prune.thresholds import Magnitude, Sparsity

__all__ = [
    "L1",
    "L2",
    "LAMP",
    "MCP",
    "Budget",
    "ByName",
    "ByPasses",
    "ByRegex",
    "ByType",
    "Cut",
    "ElasticNet",
    "Euclidean",
    "Follow",
    "Global",
    "GroupL1",
    "L1Pruning",
    "LastCheckpoint",
    "LogSum",
    "Magnitude",
    "OptimizerMetric",
    "PathCheckpoint",
    "PerLayer",
    "Pressure",
    "Proximal",
    "Relative",
    "ResumableLoader",
    "Saliency",
    "Shuffle",
    "Sparsity",
    "SparsityPath",
    "SparsityReport",
    "StepSeed",
    "Subgradient",
    "TransformedL1",
    "find_targets",
    "last_checkpoint",
    "rounds",
]
