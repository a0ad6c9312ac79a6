"""Many runs on one page: a single HTML file that needs no network.

The page is `page.html` with `page.css`, `charts.js`, `table.js` and plotly.js inside. What the runs
left comes as JSON that no browser takes for markup, and the page's own policy lets no other script
run and nothing be fetched.
"""

from __future__ import annotations

import html
import json
import math
import re
from array import array
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import cycle
from typing import Any

from l1prune.checks import needing
from l1prune.runs.costs import COSTS, known_costs
from l1prune.runs.frontier import COLOURS, pareto
from l1prune.runs.points import DENSE, Point, differing

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""Plotly's names of `frontier.MARKERS`."""
SETTINGS = 100
"""The most columns of settings in the table."""


def render(points: Sequence[Point]) -> str:
    """One HTML page of runs: an interactive picture, curves, layers and a table to sort.

    The same runs make the same bytes, whatever order they come in.

    Args:
        points: the runs; at least one.

    Raises:
        ValueError: there is no run to show.

    >>> print(render([Point("a", "l1", 10, 0.9)])[:15])
    <!doctype html>
    """
    if not points:
        raise ValueError("points is empty: there is no run to show")
    with needing("plots", "a page of runs"):
        from plotly.offline import get_plotlyjs

    scripts = {"plotly": get_plotlyjs(), "script": _part("charts.js") + _part("table.js")}
    parts = {
        **scripts,
        "policy": " ".join(f"'sha256-{_digest(script)}'" for script in scripts.values()),
        "style": _part("page.css"),
        "title": html.escape(title(points)),
        "data": _json(content(points)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))


def title(points: Sequence[Point]) -> str:
    """What there is to see, in a few words.

    >>> title([Point("a", "l1", 10, 0.9), Point("b", "dense", 20, 0.9)])
    '2 runs, 2 recipes'
    """
    counts = {"run": len(points), "recipe": len({point.recipe for point in points})}
    return ", ".join(f"{n:,} {noun}{'s' * (n != 1)}" for noun, n in counts.items())


def content(points: Sequence[Point]) -> dict[str, Any]:
    """What the page shows, in plain values: the runs, most weights first, and what they share.

    Layers are named once for all runs of the same network, and runs refer to them by number.
    """
    points = sorted(points, key=lambda p: (-p.nonzero, p.accuracy, p.name))
    axes = {"nonzero": "nonzero parameters"}
    axes |= {name: what for name, what in COSTS.items() if any(name in p.costs for p in points)}
    costs = {id(p): {"nonzero": p.nonzero, **known_costs(p.costs)} for p in points}
    fronts = {axis: _front(points, costs, axis) for axis in axes}
    recipes = sorted({point.recipe for point in points} - {DENSE})
    keys = _most_told(differing(points), points)
    networks = {network: n for n, network in enumerate(dict.fromkeys(map(_network, points)))}
    return {
        "recipes": {
            **{
                recipe: {"colour": colour, "symbol": symbol}
                for recipe, colour, symbol in zip(
                    recipes, cycle(COLOURS), cycle(SYMBOLS), strict=False
                )
            },
            DENSE: {"colour": None, "symbol": "star"},
        },
        "axes": axes,
        "settings": dict(zip(keys, short_names(keys), strict=True)),
        "networks": list(networks),
        "runs": [
            {
                "name": point.name,
                "recipe": point.recipe,
                "accuracy": point.accuracy,
                "nonzero": point.nonzero,
                "times": point.times,
                "costs": {
                    axis: costs[id(point)][axis] for axis in axes if axis in costs[id(point)]
                },
                "best": [axis for axis, front in fronts.items() if id(point) in front],
                "settings": {key: point.settings[key] for key in keys if key in point.settings},
                "network": networks[_network(point)],
                "left": [layer.nonzero for layer in point.layers],
                "history": {name: _curve(column) for name, column in point.history.items()},
            }
            for point in points
        ],
    }


def _front(
    points: Sequence[Point], costs: Mapping[int, Mapping[str, float]], axis: str
) -> set[int]:
    """Which points are the best trade-offs of accuracy and one of the costs."""
    known = [point for point in points if axis in costs[id(point)]]
    return {id(point) for point in pareto(known, lambda point: costs[id(point)][axis])}


def short_names(keys: Sequence[str]) -> list[str]:
    """As little of each setting's name as tells it from the others.

    >>> short_names(["seed", "prune.threshold.sparsity", "model.lr", "data.lr"])
    ['seed', 'sparsity', 'model.lr', 'data.lr']
    """
    names: dict[str, str] = {}
    parts = {key: key.split(".") for key in keys}
    for n in range(1, max(map(len, parts.values()), default=0) + 1):
        ends = {key: ".".join(words[-n:]) for key, words in parts.items()}
        counts = Counter(ends.values())
        names |= {key: end for key, end in ends.items() if counts[end] == 1}
        parts = {key: words for key, words in parts.items() if key not in names}
    return [names.get(key, key) for key in keys]


def _most_told(keys: Sequence[str], points: Sequence[Point]) -> list[str]:
    """As many settings as a table has room for, those that most runs have."""
    told = Counter(key for point in points for key in point.settings)
    chosen = set(sorted(keys, key=lambda key: -told[key])[:SETTINGS])
    return [key for key in keys if key in chosen]


def _network(point: Point) -> tuple[tuple[str, str, int], ...]:
    return tuple((one.name, "×".join(map(str, one.shape)), one.total) for one in point.layers)


def _curve(column: Sequence[float | None]) -> array[float]:
    return array("d", (math.nan if x is None else x for x in column))


def _drawn(column: array[float]) -> list[float | None]:
    """A curve's numbers as JSON has them; more digits than it shows would be half of the file."""
    return [float(f"{x:.6g}") if math.isfinite(x) else None for x in column]


def _json(value: Any) -> str:
    """JSON that can stand in a script element: no character of it starts or ends markup."""
    # Curves become lists when their turn comes, each for a moment: they are most of what there is.
    text = json.dumps(_finite(value), separators=(",", ":"), default=_drawn)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is no number is left out of a curve."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _part(name: str) -> str:
    return files("l1prune.runs.page").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()
