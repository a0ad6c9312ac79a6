"""Names: what tells a group of runs from the others of its recipe, as a colleague would say it.

What all of them share is not said, nor what the recipe brings itself. An object is said once, by
its class's own name with those of its arguments that differ.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from l1prune.runs.monitor import Monitor
from l1prune.runs.settings import (
    KINDS,
    LABEL,
    OBJECTS,
    TARGET,
    Told,
    class_name,
    goes_without_saying,
    in_short,
    is_told,
    short_names,
)
from l1prune.words import both_ends

ASKED = "prune.threshold"
"""Begins the settings that ask for a size."""
WIDTH = 40
"""Characters of a setting's value in the name of a group, if those tell it from others."""


class Named(Told, Protocol):
    """What is called by its recipe and by what tells it from others: a group of runs."""

    @property
    def kind(self) -> tuple[Any, ...]:
        """What is trained on what, as `kinds` has it."""
        ...

    @property
    def nonzero(self) -> float:
        """The weights left."""
        ...

    @property
    def monitor(self) -> Monitor:
        """The metric that it is judged by."""
        ...


def names(groups: Sequence[Named], keys: Sequence[str]) -> list[tuple[str, ...]]:
    """For each group what tells it from others of its recipe; what asks for a size goes by it.

    Of other kinds what is trained tells it; settings are compared within its own.

    Args:
        groups: all that are named.
        keys: of the settings that tell them apart.
    """
    kin: dict[str, _Kin] = {}
    for recipe in {group.recipe for group in groups}:
        kin[recipe] = _Kin([group for group in groups if group.recipe == recipe], keys)
    words = [kin[group.recipe].words(group) for group in groups]
    # Told by other programs, and nothing else: by which class or config each calls its parts.
    shown = [(g.recipe, _size(g), told) for g, told in zip(groups, words, strict=True)]
    counts = Counter(shown)
    return [
        told if counts[one] == 1 else (*kin[group.recipe].labels(group), *told)
        for group, told, one in zip(groups, words, shown, strict=True)
    ]


class _Kin:
    """The groups of a recipe, from which each is to be told."""

    def __init__(self, groups: Sequence[Named], keys: Sequence[str]) -> None:
        self.groups, self.keys = groups, keys
        self._among: dict[tuple[Any, ...], list[Named]] = defaultdict(list)
        for group in groups:
            for among in (_labels(group), _twins(group), _kind(group)):
                self._among[among].append(group)
        self._varying: dict[Any, bool] = {}
        self._brief: dict[str, dict[str, str]] = {}
        targets = {key for group in groups for key in group.settings if key.endswith(TARGET)}
        places = {key.removesuffix(TARGET) for key in targets}
        # Data, model and pruning as a whole are no objects among others: their arguments have names
        # of their own.
        self.objects = sorted(place for place in places if "." in place)
        self._own = {place: _own(groups, place) for place in self.objects}

    def words(self, group: Named) -> tuple[str, ...]:
        told = [
            f"{name} {group.kind[n]}"
            for n, name in enumerate(KINDS)
            if len({one.kind[n] for one in self.groups}) > 1 and is_told(group.kind[n])
        ]
        # An object once, where the first of its settings would be.
        places = list(
            dict.fromkeys(_within(k, self.objects) or k for k in self.keys if self._tells(group, k))
        )
        for place, name in zip(places, short_names(places), strict=True):
            told += self._object(group, place, name) if place in self.objects else [
                f"{name} {self._value(group, key)}" for key in [place] if _is_said(group, key)
            ]  # fmt: skip
        return tuple(told)

    def labels(self, group: Named) -> list[str]:
        """What the group calls its parts, where others call the same ones by other names."""
        return [
            f"{name} {group.settings[LABEL + name]}"
            for name in KINDS
            if self._varies(LABEL + name, _kind(group))
            and is_told(group.settings.get(LABEL + name))
        ]

    def _tells(self, group: Named, key: str) -> bool:
        if key.removeprefix(LABEL) in KINDS:
            return False
        if self._differs(group, key):
            return True
        # Other programs leave out what they do not know: that is no other value.
        told = is_told(group.settings.get(key)) and not key.startswith(ASKED)
        return told and self._varies(key, _kind(group), told=True)

    def _differs(self, group: Named, key: str) -> bool:
        """Whether others have another value, of those whose default it is where they leave it."""
        return self._varies(key, _twins(group) if key.startswith(ASKED) else _labels(group))

    def _varies(self, key: str, among: tuple[Any, ...], told: bool = False) -> bool:
        """Whether some groups have several values, or are told several."""
        place = (key, among, told)
        if place not in self._varying:
            values = [group.settings.get(key) for group in self._among[among]]
            self._varying[place] = len({repr(x) for x in values if is_told(x) or not told}) > 1
        return self._varying[place]

    def _object(self, group: Named, place: str, name: str) -> list[str]:
        """The words for an object, or for what stands in its place."""
        target, own = group.settings.get(place + TARGET), self._own[place]
        if target is None:
            if is_told(group.settings.get(place)):
                return [f"{name} {self._value(group, place)}"]
            return [f"{name} none"] if own is not None else []
        other = target != own and self._differs(group, place + TARGET)
        if other and _snake(class_name(target)) != place.rpartition(".")[2]:
            return [f"{name} {self._text(group, place)}"]
        inside = [f"{name} {argument} {text}" for argument, text in self._arguments(group, place)]
        return inside or ([name] if other else [])

    def _text(self, group: Named, place: str) -> str:
        """An object as its class is called, with the arguments that differ."""
        inside = ", ".join(f"{name}={text}" for name, text in self._arguments(group, place))
        name = self._value(group, place + TARGET)
        return f"{name}({inside})" if inside else name

    def _arguments(self, group: Named, place: str) -> list[tuple[str, str]]:
        """The arguments of an object that differ, and their values."""
        below = [one for one in self.objects if one.startswith(f"{place}.")]
        found: dict[str, str] = {}
        for key in group.settings:
            if not key.startswith(f"{place}.") or key == place + TARGET:
                continue
            if goes_without_saying(key) or not self._differs(group, key):
                continue
            one = _within(key, below) or key
            name = one.removeprefix(f"{place}.")
            if one + TARGET in group.settings:
                found[name] = self._text(group, one)
            elif _is_said(group, key):
                found[name] = self._value(group, key)
        return [*found.items()]

    def _value(self, group: Named, key: str) -> str:
        """The value of a setting in brief."""
        if key not in self._brief:
            told = {repr(one.settings.get(key)): one.settings.get(key) for one in self.groups}
            self._brief[key] = _briefly(
                told, (class_name,) if key.endswith(TARGET) else (_called, _ends)
            )
        return self._brief[key][repr(group.settings[key])]


def _briefly(values: Mapping[str, Any], ways: Sequence[Callable[[str], str]]) -> dict[str, str]:
    """Each value in the first of some ways that has no other look like it, or else whole."""
    whole = {name: in_short(value) for name, value in values.items()}
    counts = {way: Counter(map(way, whole.values())) for way in ways}
    return {
        name: next((way(text) for way in ways if counts[way][way(text)] == 1), text)
        for name, text in whole.items()
    }


def _own(groups: Sequence[Named], place: str) -> Any:
    """The class that a recipe itself brings; None if it brings none, or that is not known."""
    socket = place.removeprefix("prune.")
    found = {
        group.settings.get(place + TARGET)
        for group in groups
        if place != socket and OBJECTS in group.settings and socket not in _chosen(group)
    }
    return found.pop() if len(found) == 1 else None


# Of which groups one is: called alike, as large too, or of the same data and model.
def _labels(group: Named) -> tuple[Any, ...]:
    return ("labels", *(group.settings.get(LABEL + name) for name in KINDS))


def _twins(group: Named) -> tuple[Any, ...]:
    return (*_labels(group), _size(group))


def _kind(group: Named) -> tuple[Any, ...]:
    return ("kind", *group.kind)


def _size(group: Named) -> str:
    return f"{group.nonzero:.3g}"


def _is_said(group: Named, key: str) -> bool:
    """Whether a value is more than a default, and not what the figures are called by."""
    return is_told(group.settings.get(key)) and group.settings[key] != group.monitor.name


def _within(key: str, objects: Sequence[str]) -> str | None:
    """The outermost object that a setting is of."""
    return next((one for one in objects if key == one or key.startswith(f"{one}.")), None)


def _chosen(group: Named) -> set[str]:
    words = str(group.settings[OBJECTS]).split()
    return {word.partition("=")[0].replace("/", ".") for word in words}


def _ends(text: str) -> str:
    return both_ends(text, WIDTH)


def _called(text: str) -> str:
    """Of a long object in words its class.

    >>> _called("Refit(Saliency(least=0.6, shrinkage=0.5), damping=0.1)"), _called("L1()")
    ('Refit(…)', 'L1()')
    """
    found = re.match(r"\w+\(", text) if len(text) > WIDTH else None
    return f"{found[0]}…)" if found else _ends(text)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
