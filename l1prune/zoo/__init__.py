"""Reference tasks for the scripts: networks, data, and the modules that learn them."""

from l1prune.zoo.classifier import Classifier
from l1prune.zoo.digits import Digits
from l1prune.zoo.gpt import GPT
from l1prune.zoo.hub import HubImages
from l1prune.zoo.models import lenet5, lenet300, mlp, resnet20
from l1prune.zoo.regressor import Regressor
from l1prune.zoo.supervised import HoldThenDecay
from l1prune.zoo.tables import BreastCancer, CsvTable, Isolet
from l1prune.zoo.tabular import tabular_mlp
from l1prune.zoo.text import Text

__all__ = [
    "GPT",
    "BreastCancer",
    "Classifier",
    "CsvTable",
    "Digits",
    "HoldThenDecay",
    "HubImages",
    "Isolet",
    "Regressor",
    "Text",
    "lenet5",
    "lenet300",
    "mlp",
    "resnet20",
    "tabular_mlp",
]
