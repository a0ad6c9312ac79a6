"""Sparsity-driven pruning for PyTorch Lightning: L1 pressure, a cut, and what is left, tuned."""

from l1prune.cuts.masks import Cut
from l1prune.cuts.plans import Budget, SparsityPath
from l1prune.cuts.scopes import LAMP, Global, PerLayer, Relative, Saliency
from l1prune.cuts.thresholds import Magnitude, Sparsity
from l1prune.penalties import L1, L2, MCP, ElasticNet, GroupL1, LogSum, TransformedL1
from l1prune.pressure.controllers import Follow
from l1prune.pressure.forms import Proximal, Subgradient
from l1prune.pressure.metrics import Euclidean, OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.runs.path import PathCheckpoint
from l1prune.training.callback import L1Pruning
from l1prune.training.clock import rounds
from l1prune.training.resume.last import LastCheckpoint, StepSeed, last_checkpoint
from l1prune.training.resume.loader import ResumableLoader, Shuffle
from l1prune.training.strength import ByPasses
from l1prune.weights.report import SparsityReport
from l1prune.weights.rules import ByName, ByRegex, ByType
from l1prune.weights.targets import find_targets

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
