"""Looks: the colour and the marker of a recipe, the same in whatever company it appears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from l1prune.runs.points import DENSE
from l1prune.training.picture import BLUE

# Okabe and Ito's colours for colour-blind readers, then some of Tol's that are far from them.
COLOURS = (
    *(BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#882255", "#999933", "#44AA99"),
)
BASIC = 6
"""How many of them the recipes of `conf/prune` have."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""Plotly's names of `MARKERS`."""
INK = "#222222"
KNOWN = ("l1", "gradual", "magnitude", "path", "budget", "channels", "l2", "elastic")
"""The recipes of `conf/prune`, in the order of the looks that are theirs alone."""
COMMON = 4
"""How many of them have a colour that is given to no recipe of somebody's own."""


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

    Those of `conf/prune` have theirs. Another one draws its colour and its marker from its name:
    the colour is the same in all company, and where a recipe beside it has drawn the same marker
    in that colour too, it takes the next.

    >>> looks(["l1"]) == looks(["dense", "mine", "l1"]) | looks(["l1"])
    False
    >>> looks(["l1"])["l1"] == looks(["dense", "mine", "l1"])["l1"]
    True
    """
    names = sorted(set(recipes))
    known = {name: _known(place) for place, name in enumerate(KNOWN)}
    taken = {*known.values()}
    found = {name: known[name] for name in names if name in known}
    for name in names:
        if name not in (DENSE, *KNOWN):
            drawn = _drawn(name)
            found[name] = next((look for look in drawn if look not in taken), drawn[0])
            taken.add(found[name])
    found |= {DENSE: Look(None, "*", "star")} if DENSE in names else {}
    return {name: found[name] for name in sorted(found, key=lambda name: (name == DENSE, name))}


def _known(place: int) -> Look:
    return _look(place % BASIC, place)


def _drawn(name: str) -> list[Look]:
    """The looks of one colour, that of a name first."""
    free = range(COMMON, len(COLOURS))
    number = int(sha256(name.encode(errors="surrogatepass")).hexdigest(), 16)
    marker, colour = divmod(number, len(free))
    return [_look(free[colour], marker + more) for more in range(len(MARKERS))]


def _look(colour: int, marker: int) -> Look:
    marker %= len(MARKERS)
    return Look(COLOURS[colour], MARKERS[marker], SYMBOLS[marker])
