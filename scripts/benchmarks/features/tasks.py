"""Tasks: tables whose informative columns are known, or whose accuracy with k columns is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from l1prune.features.networks import perceptron
from l1prune.features.refit import Refit, refit
from l1prune.features.rows import Rows, Scale

Array = np.ndarray[Any, Any]
COLUMNS, ROWS, INFORMATIVE = 500, 2000, 10


@dataclass(frozen=True)
class Data:
    """What a selector is given, and what it is judged by.

    Attributes:
        x: rows to select on.
        y: their classes.
        k: how many columns are asked for.
        auto: whether a selector that can choose k does.
        truth: for each informative column, the columns any of which will do for it.
        test: rows and classes that no selector sees.
        held: how many of the rows, the last, are not for training but for validation.
    """

    x: Array
    y: Array
    k: int
    auto: bool = False
    truth: tuple[tuple[int, ...], ...] = ()
    test: tuple[Array, Array] | None = None
    held: int = 0


@dataclass(frozen=True)
class Found:
    """What a selector came to.

    Attributes:
        columns: that it selects.
        seconds: of the processor.
    """

    columns: Sequence[int]
    seconds: float


@dataclass(frozen=True)
class Task:
    """A kind of data for each seed, and how what is selected is judged."""

    data: Callable[[int, Path], Data]
    judge: Callable[[Data, Found, int], dict[str, Any]]
    seeds: Sequence[int]
    selectors: Sequence[str]


def xor5(seed: int, folder: Path, noise: int = 0) -> Data:
    """Five products of two columns each, of 500: no column says anything by itself."""
    draw = np.random.RandomState(seed)
    x = draw.randn(ROWS, COLUMNS).astype(np.float32)
    informative = draw.choice(COLUMNS, INFORMATIVE, replace=False)
    products = x[:, informative].reshape(ROWS, INFORMATIVE // 2, 2).prod(2)
    y = (products.sum(1) > 0).astype(np.int64)
    x = np.hstack([x, draw.randn(ROWS, noise).astype(np.float32)])
    return Data(x, y, INFORMATIVE, True, tuple((int(one),) for one in informative))


def noisy(seed: int, folder: Path) -> Data:
    return xor5(seed, folder, noise=200)


def copied(seed: int, folder: Path) -> Data:
    """A copy of each informative column, correlated by 0.9 with it."""
    data = xor5(seed, folder)
    informative = [one for (one,) in data.truth]
    rest = np.random.RandomState(1000 + seed).randn(ROWS, INFORMATIVE)
    copies = (0.9 * data.x[:, informative] + np.sqrt(1 - 0.81) * rest).astype(np.float32)
    truth = tuple((one, COLUMNS + at) for at, one in enumerate(informative))
    return Data(np.hstack([data.x, copies]), data.y, INFORMATIVE, True, truth)


def unscaled(seed: int, folder: Path) -> Data:
    """Columns in units from a thousandth to a thousand, around other values than zero."""
    data = xor5(seed, folder)
    draw = np.random.RandomState(2000 + seed)
    units, middles = 10 ** draw.uniform(-3, 3, COLUMNS), draw.randn(COLUMNS)
    return Data((data.x + middles) * units, data.y, data.k, True, data.truth)


def madelon(seed: int, folder: Path, clusters: int = 16) -> Data:
    """Madelon, made anew: 32 clusters at the corners of a cube of five dimensions, 500 columns.

    Five columns say where in the cube a row is, fifteen are mixtures of these, 480 are noise; one
    label in a hundred is drawn anew. Source: Guyon, "Design of experiments of the NIPS 2003
    variable selection benchmark", 2003, whose generator scikit-learn has.

    Args:
        seed: of the numbers.
        folder: has no part in it.
        clusters: of each class.
    """
    from sklearn.datasets import make_classification

    x, y = make_classification(
        ROWS + 600,
        COLUMNS,
        n_informative=5,
        n_redundant=15,
        n_clusters_per_class=clusters,
        class_sep=2.0,
        flip_y=0.01,
        shuffle=False,
        random_state=seed,
    )
    draw = np.random.RandomState(seed)
    columns, rows = draw.permutation(COLUMNS), draw.permutation(len(x))
    x, y = x[rows][:, columns].astype(np.float32), y[rows].astype(np.int64)
    truth = tuple((int(one),) for one in np.flatnonzero(columns < 20))
    return Data(x[:ROWS], y[:ROWS], len(truth), truth=truth, test=(x[ROWS:], y[ROWS:]))


def madelon_auto(seed: int, folder: Path) -> Data:
    return replace(madelon(seed, folder), auto=True)


def madelon_4(seed: int, folder: Path) -> Data:
    """The same with two clusters a class, as scikit-learn has it where nothing is said."""
    return madelon(seed, folder, clusters=2)


def madelon_4_auto(seed: int, folder: Path) -> Data:
    return replace(madelon_4(seed, folder), auto=True)


def isolet(seed: int, folder: Path) -> Data:
    """Spoken letters: 1,560 rows of 617 columns, of which a fifth is the test."""
    from scipy.io import loadmat

    stored = loadmat(folder / "isolet" / "Isolet.mat")
    x, y = stored["X"].astype(np.float64), stored["Y"].ravel().astype(np.int64) - 1
    return split(x, y, seed)


def mnist(seed: int, folder: Path) -> Data:
    """10,000 digits, of which a fifth is the test."""
    import io

    import pandas as pd
    from PIL import Image

    (file,) = (folder / "mnist").rglob("train-*.parquet")
    table = pd.read_parquet(file).sample(10_000, random_state=seed)
    images = [np.asarray(Image.open(io.BytesIO(one["bytes"]))) for one in table["image"]]
    x = np.stack(images).reshape(len(images), -1).astype(np.float32) / 255
    return split(x, table["label"].to_numpy().astype(np.int64), seed)


def split(x: Array, y: Array, seed: int) -> Data:
    """A fifth to test, an eighth of the rest to validate; standardised as the others are."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    rest, test, y_rest, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=seed
    )
    kept, held, y_kept, y_held = train_test_split(
        rest, y_rest, test_size=0.125, stratify=y_rest, random_state=seed
    )
    scale = StandardScaler().fit(kept).transform
    rows, classes = np.vstack([scale(kept), scale(held)]), np.hstack([y_kept, y_held])
    return Data(rows, classes, 50, test=(scale(test), y_test), held=len(held))


def wide(seed: int, folder: Path) -> Data:
    """20,000 columns, ten of which matter: four by themselves, six in three products."""
    draw = np.random.RandomState(seed)
    x = draw.randn(5000, 20_000).astype(np.float32)
    informative = draw.choice(20_000, INFORMATIVE, replace=False)
    some = x[:, informative]
    y = some[:, :4].sum(1) + some[:, 4:].reshape(5000, 3, 2).prod(2).sum(1) > 0
    return Data(x, y.astype(np.int64), INFORMATIVE, True, tuple((int(n),) for n in informative))


def long(seed: int, folder: Path) -> Data:
    """A million rows of 500 columns, in a file that is read as it is needed."""
    import tempfile

    rows = 1_000_000
    draw = np.random.RandomState(seed)
    with tempfile.NamedTemporaryFile(suffix=".float32") as file:
        # The file has no name any more, and is there as long as it is mapped.
        x = np.memmap(file, np.float32, "w+", shape=(rows, COLUMNS))
    informative = draw.choice(COLUMNS, INFORMATIVE, replace=False)
    y = np.empty(rows, dtype=np.int64)
    for at in range(0, rows, 50_000):
        part = draw.randn(50_000, COLUMNS).astype(np.float32)
        x[at : at + 50_000] = part
        y[at : at + 50_000] = part[:, informative].reshape(-1, 5, 2).prod(2).sum(1) > 0
    return Data(x, y, INFORMATIVE, True, tuple((int(one),) for one in informative))


def by_truth(data: Data, found: Found, seed: int) -> dict[str, Any]:
    """How many informative columns are among the selected, a copy as good as its original."""
    chosen = {*map(int, found.columns)}
    hits = sum(any(one in chosen for one in group) for group in data.truth)
    return {"found": hits, "columns": len(chosen), "seconds": round(found.seconds, 2)}


def by_neighbours(data: Data, found: Found, seed: int) -> dict[str, Any]:
    """How many informative columns, and the accuracy, %, of extra trees and of five neighbours."""
    from sklearn.neighbors import KNeighborsClassifier

    assert data.test is not None
    columns = [*found.columns]
    scale = Scale(data.x[:, columns])
    model = KNeighborsClassifier(5).fit(scale(data.x[:, columns]).numpy(), data.y)
    score = float(model.score(scale(data.test[0][:, columns]).numpy(), data.test[1]))
    row = by_truth(data, found, seed) | by_trees(data, found, seed)
    return row | {"neighbours": round(100 * score, 2)}


def by_accuracy(data: Data, found: Found, seed: int) -> dict[str, Any]:
    """The accuracy, %, of extra trees and of a fresh network on the selected columns."""
    return by_trees(data, found, seed) | {"net": round(100 * _network(data, found, seed), 2)}


def by_trees(data: Data, found: Found, seed: int) -> dict[str, Any]:
    from sklearn.ensemble import ExtraTreesClassifier

    assert data.test is not None
    columns, kept = [*found.columns], len(data.x) - data.held
    trees = ExtraTreesClassifier(50, random_state=seed)
    trees.fit(data.x[:kept, columns], data.y[:kept])
    score = float(trees.score(data.test[0][:, columns], data.test[1]))
    row = {"columns": len(columns), "seconds": round(found.seconds, 2)}
    return row | {"trees": round(100 * score, 2)}


def _network(data: Data, found: Found, seed: int) -> float:
    """Of a network with 100 hidden units, stopped by the validation rows."""
    assert data.test is not None
    x, test = (part[:, [*found.columns]] for part in (data.x, data.test[0]))
    scale, rows = Scale(x), np.arange(len(x))
    kept = len(x) - data.held
    train, check = (
        Rows(x, torch.from_numpy(data.y), scale, some) for some in np.split(rows, [kept])
    )
    torch.manual_seed(seed)
    model = perceptron(x.shape[1], int(data.y.max()) + 1)
    losses = partial(F.cross_entropy, reduction="none")
    refit(model, losses, train, check, Refit(), np.random.RandomState(seed))
    with torch.no_grad():
        said = model(scale(test)).argmax(1).numpy()
    return float((said == data.test[1]).mean())


FAST = ("ours", "logistic_l1", "f_classif", "trees", "random")
ALL = (*FAST, "lassonet", "lassonet_paper")
BOUNDS = ("truth", "all")
TASKS = {
    "xor5": Task(xor5, by_truth, range(10), ALL),
    "xor5_noise": Task(noisy, by_truth, range(10), FAST),
    "xor5_copies": Task(copied, by_truth, range(10), FAST),
    "xor5_unscaled": Task(unscaled, by_truth, range(10), FAST),
    "madelon": Task(madelon, by_neighbours, range(5), (*ALL, *BOUNDS)),
    "madelon_auto": Task(madelon_auto, by_neighbours, range(5), ("ours",)),
    "madelon_4": Task(madelon_4, by_neighbours, range(3), (*ALL, *BOUNDS)),
    "madelon_4_auto": Task(madelon_4_auto, by_neighbours, range(3), ("ours",)),
    "isolet": Task(isolet, by_accuracy, range(5), ALL),
    "mnist": Task(mnist, by_trees, range(3), ALL),
    "wide": Task(wide, by_truth, range(1), ("ours",)),
    "long": Task(long, by_truth, range(1), ("ours",)),
}
