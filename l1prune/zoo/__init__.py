"""Reference tasks for the scripts: networks, data, and what a run of them is made of."""

from l1prune.runs.best import BestCheckpoint
from l1prune.runs.folder import RunFolder
from l1prune.runs.history import History
from l1prune.runs.progress import RunProgress
from l1prune.runs.trajectory import Trajectory
from l1prune.zoo.classifier import Classifier, HoldThenDecay
from l1prune.zoo.digits import Digits
from l1prune.zoo.gpt import GPT
from l1prune.zoo.hub import HubImages
from l1prune.zoo.models import lenet5, lenet300, mlp, resnet20
from l1prune.zoo.text import Text

__all__ = [
    "GPT",
    "BestCheckpoint",
    "Classifier",
    "Digits",
    "History",
    "HoldThenDecay",
    "HubImages",
    "RunFolder",
    "RunProgress",
    "Text",
    "Trajectory",
    "lenet5",
    "lenet300",
    "mlp",
    "resnet20",
]
