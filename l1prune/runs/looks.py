"""Looks: the colour and the marker of a recipe, the same in whatever company it appears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from l1prune.runs.points import DENSE
from l1prune.training.picture import BLUE

# Okabe and Ito's colours for colour-blind readers; one marker more, so that 42 recipes look unlike.
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""Plotly's names of `MARKERS`."""
INK = "#222222"
KNOWN = ("l1", "gradual", "magnitude", "path", "budget", "channels", "l2", "elastic")
"""The recipes of `conf/prune`, in the order of the looks that are theirs alone."""
COMMON = 4
"""How many of them have a colour that is given to no other recipe as long as there is one."""


@dataclass(frozen=True)
class Look:
    """How a recipe is drawn.

    Attributes:
        colour: as `#rrggbb`; None: the ink of the text.
        marker: of matplotlib.
        symbol: the same of Plotly.
    """

    colour: str | None
    marker: str
    symbol: str


def looks(recipes: Iterable[str]) -> dict[str, Look]:
    """A look for each recipe, in the order of their names; the dense network's comes last.

    Those of `conf/prune` have theirs. Another one draws its own from its name, and takes the next
    only if a recipe beside it has drawn the same.

    >>> looks(["l1"]) == looks(["dense", "mine", "l1"]) | looks(["l1"])
    False
    >>> looks(["l1"])["l1"] == looks(["dense", "mine", "l1"])["l1"]
    True
    """
    names = sorted(set(recipes))
    taken: dict[int, str] = {i: name for i, name in enumerate(KNOWN) if name in names}
    others = [name for name in names if name not in (DENSE, *KNOWN)]
    free = range(len(KNOWN), len(COLOURS) * len(MARKERS))
    # In a colour that the recipes most often seen do not have, as long as there is one.
    first = [place for place in free if place % len(COLOURS) >= COMMON]
    for name in others:
        drawn = int(sha256(name.encode(errors="surrogatepass")).hexdigest(), 16) % len(first)
        own = [*first[drawn:], *first[:drawn], *free, *range(len(KNOWN))]
        place = next((place for place in own if place not in taken), free.stop + len(taken))
        taken[place] = name
    found = {name: _look(place) for place, name in taken.items()}
    found |= {DENSE: Look(None, "*", "star")} if DENSE in names else {}
    return {name: found[name] for name in sorted(found, key=lambda name: (name == DENSE, name))}


def _look(place: int) -> Look:
    marker = place % len(MARKERS)
    return Look(COLOURS[place % len(COLOURS)], MARKERS[marker], SYMBOLS[marker])
