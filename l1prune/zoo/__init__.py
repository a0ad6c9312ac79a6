"""Reference tasks for the scripts: networks, data, and the classifier that learns them."""

from l1prune.zoo.classifier import Classifier, HoldThenDecay
from l1prune.zoo.digits import Digits
from l1prune.zoo.gpt import GPT
from l1prune.zoo.hub import HubImages
from l1prune.zoo.models import lenet5, lenet300, mlp, resnet20
from l1prune.zoo.text import Text

__all__ = [
    "GPT",
    "Classifier",
    "Digits",
    "HoldThenDecay",
    "HubImages",
    "Text",
    "lenet5",
    "lenet300",
    "mlp",
    "resnet20",
]
