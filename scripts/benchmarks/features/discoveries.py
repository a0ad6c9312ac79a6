"""How many discoveries are false: of knockoffs, and of rows that were shuffled as shadows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.features.tasks import Array
from l1prune.features.discoveries import Copies, discover
from l1prune.features.fitting import seeded
from l1prune.features.knockoffs import gaussian_knockoffs, knockoff_threshold
from l1prune.features.networks import perceptron
from l1prune.features.path import Path, Recipe, walk
from l1prune.features.penalty import FeaturePenalty
from l1prune.features.rows import Rows, Scale
from l1prune.features.screening import Screening, screened
from l1prune.features.tasks import Regression

ROWS, TRUE = 800, 16
SEEDS = range(20)
LEVELS = (0.1, 0.2)
KINDS = {
    "independent": (80, 0.0),
    "correlated": (80, 0.6),
    "products": (80, 0.5),
    "skewed": (80, 0.6),
    "binary": (80, 0.6),
    "wide": (300, 0.6),
    "wide_independent": (300, 0.0),
}
"""Of each, how many columns there are, and by how much neighbours correlate; wide: screened."""


def table_of(kind: str, seed: int) -> tuple[Array, Array, Array]:
    """Columns, a target that depends on some of them, and which these are.

    It depends on a product, a wave, an absolute value and twelve columns by themselves; of
    `products` on products of two alone. Neighbours correlate, and what matters stands anywhere.
    """
    draw, (columns, rho) = np.random.RandomState(seed), KINDS[kind]
    x = draw.normal(size=(ROWS, columns))
    for at in range(1, columns):
        x[:, at] = rho * x[:, at - 1] + np.sqrt(1 - rho**2) * x[:, at]
    if kind == "skewed":
        x = np.exp(x)
    if kind == "binary":  # every other one
        x[:, ::2] = x[:, ::2] > 0
    true = np.sort(draw.permutation(columns)[:TRUE])
    z = x[:, draw.permutation(true)]
    z = (z - z.mean(0)) / z.std(0)
    if kind == "products":
        signal = z.reshape(ROWS, -1, 2).prod(2).sum(1)
    else:
        signal = z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + np.abs(z[:, 3]) + z[:, 4:].sum(1)
    return x, signal + 0.5 * draw.normal(size=ROWS), true


def shuffled(x: Array, generator: np.random.RandomState, owners: Array) -> Array:
    """Shadows: the same rows in another order, which correlate as the columns do, not with them."""
    return x[generator.permutation(len(x))]


COPIES: dict[str, Copies] = {"knockoffs": gaussian_knockoffs, "shadows": shuffled}


def run(kind: str, copies: str, seed: int) -> dict[str, Any]:
    """One table: by level, which share of what is selected is false, and of the truth found."""
    x, y, true = table_of(kind, seed)
    task, generator = Regression(y), np.random.RandomState(1000 + seed)  # not the table's own

    def along(both: Array, owners: Array) -> Path:
        rows = Rows(both, task.y, Scale(both))

        def walk_on(columns: Array, recipe: Recipe, until: int) -> Path:
            some = rows.of(columns)
            with seeded(generator):
                model = perceptron(len(columns), 1)
                return walk(model, task.losses, some, some, FeaturePenalty(), recipe, generator)

        return screened(walk_on, len(owners), len(rows), Recipe(), Screening())

    found = discover(x, np.arange(x.shape[1]), LEVELS[0], along, generator, COPIES[copies])
    row: dict[str, Any] = {"task": f"discoveries_{kind}", "selector": copies, "seed": seed}
    for level in LEVELS:
        least = knockoff_threshold(found.advantages, level)
        chosen = np.flatnonzero(found.advantages >= least)
        hits = len(np.intersect1d(chosen, true))
        false = (len(chosen) - hits) / max(len(chosen), 1)
        row |= {f"false_{level}": round(false, 4), f"found_{level}": round(hits / TRUE, 4)}
    return row


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown: what was allowed, what was false on the average, and what was found."""
    lines = ["| columns | copies | tables | allowed, % | false, % | found, % |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for kind in KINDS:
        for copies in COPIES:
            key = (f"discoveries_{kind}", copies)
            some = [row for row in found if (row["task"], row["selector"]) == key]
            for level in LEVELS if len(some) > 1 else ():
                false = [100 * row[f"false_{level}"] for row in some]
                hits = 100 * mean(row[f"found_{level}"] for row in some)
                error = stdev(false) / len(false) ** 0.5
                lines.append(
                    f"| {kind} | {copies} | {len(some)} | {100 * level:g} | "
                    f"{mean(false):.1f} ± {error:.1f} | {hits:.0f} |"
                )
    return "\n".join(lines)
