"""L1FeatureSelector: feature selection in a network, as scikit-learn's selectors are used."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from l1prune.checks import needing
from l1prune.features.arguments import check_arguments, number_of
from l1prune.features.choice import choose, in_vain
from l1prune.features.discoveries import discover
from l1prune.features.entries import groups_of, owners_of
from l1prune.features.fitting import (
    SEEDS,
    built,
    dense,
    forget,
    is_constant,
    joined_names,
    numbered,
    seeded,
    split,
    task_of,
)
from l1prune.features.given import check_targets, names_of, table_of
from l1prune.features.networks import Network
from l1prune.features.order import standings_of
from l1prune.features.path import Path, PathPoint, Recipe, walk
from l1prune.features.penalty import FeaturePenalty
from l1prune.features.places import count_inputs, places_of
from l1prune.features.screening import Screening, screened
from l1prune.features.stability import stability
from l1prune.features.tasks import Regression, Task
from l1prune.penalties.penalty import Penalty
from l1prune.weights.warning import PruningWarning, warn

with needing("features", "L1FeatureSelector"):
    from sklearn.base import BaseEstimator, clone
    from sklearn.feature_selection import SelectorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted


class L1FeatureSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Selects columns by what a network under a concave group penalty goes without.

    A network is trained, on standardised columns, while the pressure on each column of its first
    layer grows. Columns leave; what is left longest matters most, also where it matters only
    together with others. Where columns say the same, one of them is left. Where there are many for
    the rows, several networks first say, in less time, which are worth it.

    Args:
        n_features_to_select: `"auto"`: the fewest that predict the held-back rows within one
            standard error of the best on the path; None: those with which they were predicted best;
            a whole number, or a share in (0, 1]: so many, and no rows are held back. A group counts
            as one.
        task: `"classification"`, `"regression"`, or `"auto"`: by the type of `y`.
        network: from the number of columns and of outputs to a network whose layer `layer` sees
            the columns; None: a perceptron.
        hidden_layer_sizes: of that perceptron.
        layer: of a network of one's own, the layer that sees the columns, or several of them.
        penalty: of the root mean square of a column's weights; None: `LogSum(0.05)`.
        groups: lists of columns (numbers, or names) that stay or go together, as the one-hot
            columns of a variable do. A group counts as one feature.
        recipe: how the path is walked; None: `Recipe()`.
        screening: how features are screened where there are many for the rows; None: `Screening()`.
            The network is then asked for with fewer columns.
        false_discovery_rate: in (0, 1), instead of a number: all features that outdo a knockoff of
            theirs, of which on the average no larger share is false, as far as the columns are
            jointly Gaussian; perhaps none. The network is asked for with twice the columns.
        validation_fraction: share of the rows that are held back to choose how many.
        stability: of how many pairs of half samples each column's `stability_` is the share; 0:
            none. Each half is a fit of its own.
        verbose: whether to write a line a validation.
        random_state: seed or generator of numbers: of the network, and of the order of rows.

    Attributes:
        support_: `(columns,)`, which are selected.
        ranking_: `(columns,)`, 1 of those selected; larger numbers left earlier, or, by
            `false_discovery_rate`, have less advantage over their knockoffs; one for each group.
        feature_importances_: `(columns,)`, the root mean square of a column's weights; 0 of those
            not selected.
        n_features_to_select_: how many features were selected; their columns, of groups more, are
            `support_.sum()`.
        beats_none_: whether they predict the held-back rows better than none does; None: none were.
        stability_: `(columns,)`, the share of half samples on which a column is selected, if
            `stability` asks for it.
        path_: a dictionary for each validation: `network` (several, where columns were screened),
            `epoch`, `strength`, `n_features`, `left` and `came_back` since the last (names),
            `loss`; `pandas.DataFrame(selector.path_)`.
        classes_: of a classification; a list, an item for each output, where there are several.
        n_features_in_: how many columns there were.
        feature_names_in_: their names, where they had any.
        n_iter_: how many epochs there were.

    >>> import numpy as np
    >>> x = np.random.RandomState(0).normal(size=(400, 20))
    >>> y = np.where(x[:, 3] * x[:, 7] > 0, "same", "opposite")  # neither says anything by itself
    >>> L1FeatureSelector(random_state=0).fit(x, y).get_support(indices=True)
    array([3, 7])
    """

    def __init__(  # noqa: PLR0913  # as estimators of scikit-learn have them
        self,
        n_features_to_select: int | float | str | None = "auto",
        *,
        task: str = "auto",
        network: Network | None = None,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        layer: str | Sequence[str] = "first",
        penalty: Penalty | None = None,
        groups: Sequence[Sequence[Any]] | None = None,
        recipe: Recipe | None = None,
        screening: Screening | None = None,
        false_discovery_rate: float | None = None,
        validation_fraction: float = 0.15,
        stability: int = 0,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.task = task
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layer = layer
        self.penalty = penalty
        self.groups = groups
        self.recipe = recipe
        self.screening = screening
        self.false_discovery_rate = false_discovery_rate
        self.validation_fraction = validation_fraction
        self.stability = stability
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> L1FeatureSelector:  # noqa: N803  # scikit-learn's name
        """Select columns.

        Args:
            X: `(rows, columns)`, an array, a data frame, or a memory map larger than memory.
            y: `(rows,)` or `(rows, outputs)`: numbers, or classes, as texts or numbers.

        Raises:
            ValueError: an argument makes no sense, or does not fit the data.
        """
        check_arguments(self)
        forget(self)
        check_targets(y, self.task)
        x, y = table_of(self, X, y, multi_output=True, ensure_min_samples=2)
        task: Any = task_of(self.task, y := dense(y))
        if not isinstance(task, Regression):
            self.classes_ = task.classes
        names = names_of(self)
        owners = owners_of(x.shape[1], numbered(self.groups, names)).numpy()
        count = number_of(self.n_features_to_select, int(owners.max()) + 1)
        generator = np.random.RandomState(check_random_state(self.random_state).randint(SEEDS))
        if self.false_discovery_rate is None:
            path = self._walk(x, task, owners, count, generator)
            self._choose(path, owners, count, names)
        else:
            self._discover(x, task, owners, names, generator)
        if self.stability:
            self.stability_ = stability(
                partial(self._selected, x, y, task), len(x), self.stability, generator
            )
        return self

    def _selected(
        self, x: NDArray[Any], y: NDArray[Any], task: Task, rows: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Which columns are selected on some of the rows; none, where there is nothing to tell."""
        classes = not isinstance(task, Regression)
        if is_constant(y[rows]):
            return np.zeros(x.shape[1], dtype=bool)
        half = clone(self).set_params(stability=0, random_state=int(rows.sum()) % SEEDS)
        half.set_params(task="classification" if classes else "regression")
        if self.groups is not None:
            half.set_params(groups=numbered(self.groups, names_of(self)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)  # the user asked for no halves' advice
            found: NDArray[np.bool_] = half.fit(x[rows], y[rows]).support_
        return found

    # ---- the path

    def _walk(
        self,
        x: NDArray[Any],
        task: Task,
        owners: NDArray[np.int64],
        count: int | None,
        generator: np.random.RandomState,
    ) -> Path:
        held_back = self.validation_fraction if count is None else 0.0
        train, check = split(x, task.y, held_back, generator)
        recipe = Recipe() if self.recipe is None else self.recipe
        screening = Screening() if self.screening is None else self.screening

        def walk_on(features: NDArray[np.int64], recipe: Recipe, until: int) -> Path:
            columns = np.flatnonzero(np.isin(owners, features))
            with seeded(generator):
                return walk(
                    self._network(len(columns), task),
                    task.losses,
                    train.of(columns),
                    check.of(columns),
                    FeaturePenalty(self.penalty, self.layer, groups_of(owners[columns])),
                    recipe,
                    generator,
                    until,
                    self._say if self.verbose else None,
                )

        many = int(owners.max()) + 1
        return screened(walk_on, many, len(train), recipe, screening, until=count or 0)

    def _network(self, columns: int, task: Task) -> nn.Module:
        model = built(self.network, self.hidden_layer_sizes, columns, task)
        seen = count_inputs(places_of(model, self.layer))
        if seen != columns:
            raise ValueError(
                f"layer={self.layer!r} has {seen} inputs, and there are {columns} columns: "
                "name the layer that sees them"
            )
        return model

    def _say(self, point: PathPoint) -> None:
        sys.stderr.write(
            f"epoch {point.epoch}: λ {point.strength:.3g}, {point.n_features} features, "
            f"loss {point.loss:.4g}\n"
        )

    def _choose(
        self, path: Path, owners: NDArray[Any], count: int | None, names: list[str]
    ) -> None:
        """Select by the path, as many as are asked for."""
        choice = choose(path, count, fewest=self.n_features_to_select == "auto")
        self._settle(choice.features, path.ranked.numpy(), choice.sizes, owners)
        self.beats_none_ = choice.beats_none
        if self.beats_none_ is False:
            warn(in_vain(self.n_features_to_select))
        self._tell(path, joined_names(owners, names))

    def _discover(
        self,
        x: NDArray[Any],
        task: Task,
        owners: NDArray[Any],
        names: list[str],
        generator: np.random.RandomState,
    ) -> None:
        """Select what outdoes its knockoff."""

        def along(both: NDArray[Any], owners: NDArray[Any]) -> Path:
            return self._walk(both, task, owners, 0, generator)

        level = float(self.false_discovery_rate or 0)
        found = discover(x, owners, level, along, generator)
        chosen, ranked = found.selected.nonzero()[0], (-found.advantages).argsort(kind="stable")
        self._settle(chosen, ranked, found.worth, owners)
        self.beats_none_ = None
        features = joined_names(owners, names)
        self._tell(found.path, [*features, *(f"knockoff of {name}" for name in features)])

    def _settle(
        self, chosen: NDArray[Any], ranked: NDArray[Any], sizes: NDArray[Any], owners: NDArray[Any]
    ) -> None:
        """Say of each column whether it is selected, how it ranks, and how large it is."""
        self.ranking_ = standings_of(chosen, ranked)[owners]
        self.support_ = self.ranking_ == 1
        self.feature_importances_ = np.where(self.support_, sizes[owners], 0.0).astype(np.float64)
        self.n_features_to_select_ = len(chosen)

    def _tell(self, path: Path, names: list[str]) -> None:
        self.n_iter_ = len(path.points)
        self.path_ = [point.row(names) for point in path.points]

    # ---- what scikit-learn asks

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self, "support_")
        found: NDArray[np.bool_] = self.support_
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
