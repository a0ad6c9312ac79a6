"""L1NetClassifier and L1NetRegressor: select columns, then predict from these alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l1prune.checks import needing
from l1prune.features.arguments import check_arguments
from l1prune.features.fitting import (
    SEEDS,
    built,
    dense,
    forget,
    seeded,
    split,
    task_of,
)
from l1prune.features.given import check_targets, table_of
from l1prune.features.networks import Network
from l1prune.features.path import Recipe
from l1prune.features.refit import Refit, refit
from l1prune.features.rows import AT_ONCE, Scale
from l1prune.features.screening import Screening
from l1prune.features.selector import L1FeatureSelector
from l1prune.features.tasks import Task
from l1prune.penalties.penalty import Penalty

with needing("features", "L1NetClassifier"):
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.validation import check_is_fitted


class _L1Net(BaseEstimator):  # type: ignore[misc]
    """Selects columns, and trains a network on them."""

    _task: str

    def __init__(  # noqa: PLR0913  # as estimators of scikit-learn have them
        self,
        n_features_to_select: int | float | str | None = "auto",
        *,
        network: Network | None = None,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        layer: str | Sequence[str] = "first",
        penalty: Penalty | None = None,
        groups: Sequence[Sequence[Any]] | None = None,
        recipe: Recipe | None = None,
        screening: Screening | None = None,
        refit: Refit | None = None,
        validation_fraction: float = 0.15,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layer = layer
        self.penalty = penalty
        self.groups = groups
        self.recipe = recipe
        self.screening = screening
        self.refit = refit
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803  # scikit-learn's name
        """Select columns, and train on them.

        Args:
            X: `(rows, columns)`.
            y: `(rows,)` or `(rows, outputs)`.

        Raises:
            ValueError: an argument makes no sense, or does not fit the data.
        """
        check_arguments(self)
        forget(self)
        check_targets(y, self._task)
        numeric = self._task == "regression"
        x, y = table_of(self, X, y, multi_output=True, y_numeric=numeric, ensure_min_samples=2)
        y = dense(y)
        if self._task == "classification" and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        generator = np.random.RandomState(check_random_state(self.random_state).randint(SEEDS))
        self.selector_ = self._selector(int(generator.randint(SEEDS))).fit(X, y)
        self.support_ = self.selector_.support_
        task = task_of(self._task, y)
        self._learn(x[:, self.support_], task, generator)
        return self

    def _selector(self, seed: int) -> L1FeatureSelector:
        return L1FeatureSelector(
            self.n_features_to_select,
            task=self._task,
            network=self.network,
            hidden_layer_sizes=self.hidden_layer_sizes,
            layer=self.layer,
            penalty=self.penalty,
            groups=self.groups,
            recipe=self.recipe,
            screening=self.screening,
            validation_fraction=self.validation_fraction,
            verbose=self.verbose,
            random_state=seed,
        )

    def _learn(self, x: NDArray[Any], task: Task, generator: np.random.RandomState) -> None:
        train, check = split(x, task.y, self.validation_fraction, generator)
        with seeded(generator):
            model = built(self.network, self.hidden_layer_sizes, x.shape[1], task)
            how = Refit() if self.refit is None else self.refit
            self.n_iter_ = refit(model, task.losses, train, check, how, generator)
        # In float64 a row is predicted the same, whatever the others beside it.
        self.module_, self._scale, self._said = model.double().eval(), Scale(x), task
        task.y = task.y[:0]  # what was learnt is kept, not what from

    @torch.no_grad()
    def _outputs(self, X: Any) -> Tensor:  # noqa: N803
        check_is_fitted(self)
        x = table_of(self, X, reset=False)
        step = max(1, AT_ONCE // x.shape[1])
        parts = (x[at : at + step, self.support_] for at in range(0, len(x), step))
        return torch.cat([self.module_(self._scale(part).double()) for part in parts])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803  # scikit-learn's name
        """What the targets of rows are: `(rows,)`, or `(rows, outputs)`."""
        outputs = self._outputs(X)
        return self._said.predictions(outputs)


class L1NetClassifier(ClassifierMixin, _L1Net):  # type: ignore[misc]
    """Selects columns, and classifies by a network trained on these alone.

    Args:
        n_features_to_select: as of `L1FeatureSelector`, like all that follow but `refit`.
        network: from the number of columns and of outputs to a network.
        hidden_layer_sizes: of the perceptron where none is given.
        layer: of a network of one's own, the layer that sees the columns.
        penalty: what presses.
        groups: lists of columns that stay or go together.
        recipe: how columns are selected.
        screening: how they are screened where there are many for the rows.
        refit: how the network is trained on the selected ones; None: `Refit()`.
        validation_fraction: share of the rows that are held back.
        verbose: whether to write a line a validation.
        random_state: seed, or generator of numbers.

    Attributes:
        support_: `(columns,)`, which are selected.
        selector_: the fitted `L1FeatureSelector`.
        classes_: the classes; a list of them, an item for each output, where there are several.
        module_: the network; it takes the selected columns, standardised.
        n_features_in_: how many columns there were.
        feature_names_in_: their names, where they had any.
        n_iter_: how many epochs the network was trained.

    >>> x = np.random.RandomState(0).normal(size=(400, 20))
    >>> y = np.where(x[:, 3] * x[:, 7] > 0, "same", "opposite")
    >>> net = L1NetClassifier(random_state=0).fit(x[:300], y[:300])
    >>> net.support_.nonzero()[0], net.score(x[300:], y[300:]) > 0.9
    (array([3, 7]), True)
    """

    _task = "classification"

    def fit(self, X: Any, y: Any) -> L1NetClassifier:  # noqa: N803  # scikit-learn's name
        """Select columns, and train on them; see `L1FeatureSelector.fit`."""
        super().fit(X, y)
        said: Any = self._said
        self.classes_ = said.classes
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        """Of each class, or of each label: `(rows, classes)`; a list, where there are outputs."""
        outputs = self._outputs(X)
        said: Any = self._said
        return said.probabilities(outputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """The share of rows that are predicted right, in all labels or outputs."""
        if not isinstance(self.classes_, list):
            return float(super().score(X, y, sample_weight))
        right = (self.predict(X) == np.asarray(y)).all(1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class L1NetRegressor(RegressorMixin, _L1Net):  # type: ignore[misc]
    """Selects columns, and predicts numbers by a network trained on these alone.

    Args:
        n_features_to_select: as of `L1FeatureSelector`, like all that follow but `refit`.
        network: from the number of columns and of outputs to a network.
        hidden_layer_sizes: of the perceptron where none is given.
        layer: of a network of one's own, the layer that sees the columns.
        penalty: what presses.
        groups: lists of columns that stay or go together.
        recipe: how columns are selected.
        screening: how they are screened where there are many for the rows.
        refit: how the network is trained on the selected ones; None: `Refit()`.
        validation_fraction: share of the rows that are held back.
        verbose: whether to write a line a validation.
        random_state: seed, or generator of numbers.

    Attributes:
        support_: `(columns,)`, which are selected.
        selector_: the fitted `L1FeatureSelector`.
        module_: the network; it takes the selected columns, standardised.
        n_features_in_: how many columns there were.
        feature_names_in_: their names, where they had any.
        n_iter_: how many epochs the network was trained.

    >>> x = np.random.RandomState(0).normal(size=(400, 20))
    >>> y = x[:, 3] * x[:, 7]
    >>> net = L1NetRegressor(random_state=0).fit(x[:300], y[:300])
    >>> net.support_.nonzero()[0], net.score(x[300:], y[300:]) > 0.9
    (array([3, 7]), True)
    """

    _task = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
