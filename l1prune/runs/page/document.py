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
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

from l1prune.checks import needing
from l1prune.runs.page.content import content, heading, title
from l1prune.runs.points import Point


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

    shown = content(points)
    scripts = {"plotly": get_plotlyjs(), "script": _part("charts.js") + _part("table.js")}
    parts = {
        **scripts,
        "policy": " ".join(f"'sha256-{_digest(script)}'" for script in scripts.values()),
        "style": _part("page.css"),
        "title": html.escape(title(points)),
        "heading": html.escape(heading(shown["metrics"])),
        "data": _json(shown),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))


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
