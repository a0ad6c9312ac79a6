"""Selectors: ours, and what people use; each from data to columns."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.features.tasks import Array, Data, Found
from l1prune import L1FeatureSelector

Selector = Callable[[Data, int], "Found | None"]


def ours(data: Data, seed: int) -> Found:
    asked = "auto" if data.auto else data.k
    verbose = data.x.size > 5e7
    selector = L1FeatureSelector(asked, random_state=seed, verbose=verbose)
    return timed(lambda: selector.fit(data.x, data.y).get_support(indices=True).tolist())


def timed(select: Callable[[], Sequence[int]]) -> Found:
    start = time.process_time()
    columns = select()
    return Found(columns, time.process_time() - start)


def largest(scores: Array, k: int) -> list[int]:
    """The columns of the k largest; a column without a score comes last."""
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:k].tolist()


def by(scores: Callable[[Data, int], Array]) -> Selector:
    """The k columns of the largest scores."""
    return lambda data, seed: timed(lambda: largest(scores(data, seed), data.k))


def f_classif(data: Data, seed: int) -> Array:
    from sklearn.feature_selection import f_classif as anova

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant columns
        scores: Array = anova(data.x, data.y)[0]
    return scores


def trees(data: Data, seed: int) -> Array:
    from sklearn.ensemble import ExtraTreesClassifier

    found: Array = (
        ExtraTreesClassifier(300, random_state=seed).fit(data.x, data.y).feature_importances_
    )
    return found


def random(data: Data, seed: int) -> Array:
    return np.random.RandomState(seed).rand(data.x.shape[1])


def truth(data: Data, seed: int) -> Found:
    """What no selector is told: the informative columns."""
    return Found(sorted(one for group in data.truth for one in group), 0.0)


def every(data: Data, seed: int) -> Found:
    """All columns."""
    return Found(range(data.x.shape[1]), 0.0)


def logistic_l1(data: Data, seed: int) -> Found:
    """As `SelectFromModel` does it: the k largest of an L1 logistic regression's columns."""
    from sklearn.feature_selection import SelectFromModel
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import scale

    model = LogisticRegression(
        solver="saga", l1_ratio=1.0, C=0.1, max_iter=100, tol=1e-2, random_state=seed
    )
    selector = SelectFromModel(model, threshold=-np.inf, max_features=data.k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a solver that would go on
        return timed(lambda: selector.fit(scale(data.x), data.y).get_support(indices=True).tolist())


def lassonet(data: Data, seed: int, **settings: Any) -> Found | None:
    """The first point of its path with at most k columns, or the k that left last."""
    try:
        from lassonet import LassoNetClassifier
    except ImportError:
        return None
    train, held = np.split(np.arange(len(data.x)), [len(data.x) - (data.held or len(data.x) // 8)])
    scale = data.x[train].mean(0), data.x[train].std(0) + 1e-12
    x = ((data.x - scale[0]) / scale[1]).astype(np.float32)

    def select() -> list[int]:
        import torch

        model = LassoNetClassifier(random_state=seed, torch_seed=seed, verbose=0, **settings)
        with torch.random.fork_rng(devices=[]):
            path = model.path(
                x[train],
                data.y[train],
                X_val=x[held],
                y_val=data.y[held],
                return_state_dicts=False,
                callback=None,
            )
        return largest(model.feature_importances_.numpy(), data.k) if path else []

    return timed(select)


def lassonet_default(data: Data, seed: int) -> Found | None:
    """Its defaults, but for where λ begins: the search for that takes longer than the path."""
    return lassonet(data, seed, lambda_start=2.0)


def lassonet_paper(data: Data, seed: int) -> Found | None:
    """The settings of its authors' script: M = 10, a layer of a third of the columns, batch 256."""
    third = data.x.shape[1] // 3
    settings = {"M": 10, "hidden_dims": (third,), "batch_size": 256, "n_iters": (1000, 1000)}
    return lassonet(data, seed, lambda_start=2.0, **settings)


SELECTORS: dict[str, Selector] = {
    "ours": ours,
    "logistic_l1": logistic_l1,
    "f_classif": by(f_classif),
    "trees": by(trees),
    "random": by(random),
    "lassonet": lassonet_default,
    "lassonet_paper": lassonet_paper,
    "truth": truth,
    "all": every,
}
