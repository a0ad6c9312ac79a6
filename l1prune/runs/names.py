"""Names: what tells a group of runs from the others of its recipe, as a colleague would say it.

What all of them share is not said, nor what the recipe brings itself. An object is said once, by
its class's own name with those of its arguments that differ.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from l1prune.runs.escapes import shortened
from l1prune.runs.monitor import Monitor
from l1prune.runs.settings import Told, in_short, is_told, short_names

ASKED = "prune.threshold"
"""Begins the settings that ask for a size."""
KINDS = ("data", "model")
"""What is trained on what; runs of other kinds are hardly told the same settings."""
LABEL = "labels."
OBJECTS = "labels.objects"
"""The objects that were put in the place of a recipe's own, by the names of their configs."""
TARGET = "._target_"
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


def goes_without_saying(key: str) -> bool:
    """Whether a setting tells no two recipes of one table apart.

    What they are judged by, all runs of a table share; the names of configs of objects come with
    the objects themselves; what begins with an underscore says how an object is made.

    >>> [goes_without_saying(key) for key in ("monitor.name", "labels.objects", "model._target_")]
    [True, True, False]
    """
    last = key.rpartition(".")[2]
    private = last.startswith("_") and last not in ("_target_", "_args_")
    return private or key == OBJECTS or key.startswith("monitor.")


def kinds(runs: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """What each of some runs trains on what, by one name for one thing.

    The command line calls data and model by the names of their configs, other programs by those of
    their classes. Where a single config is of such a class, the two are one.

    Args:
        runs: their settings.

    >>> line = {"labels.data": "tide", "data._target_": "tide.Tides", "labels.model": "mlp"}
    >>> kinds([line, {"labels.data": "Tides", "labels.model": "Net"}])
    [('tide', 'mlp'), ('tide', 'Net')]
    """
    columns = []
    for name in KINDS:
        labels = [run.get(LABEL + name) for run in runs]
        configs: dict[str, set[Any]] = defaultdict(set)
        for run, label in zip(runs, labels, strict=True):
            if is_told(run.get(name + TARGET)):
                configs[_class(run[name + TARGET])].add(label)
        one = {of: labels.pop() for of, labels in configs.items() if len(labels) == 1}
        columns.append(
            [
                label if name + TARGET in run else one.get(str(label), label)
                for run, label in zip(runs, labels, strict=True)
            ]
        )
    return list(zip(*columns, strict=True))


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
    shown = [(g.recipe, f"{g.nonzero:.3g}", told) for g, told in zip(groups, words, strict=True)]
    counts = Counter(shown)
    return [
        told if counts[one] == 1 else (*kin[group.recipe].labels(group), *told)
        for group, told, one in zip(groups, words, shown, strict=True)
    ]


class _Kin:
    """The groups of a recipe, from which each is to be told."""

    def __init__(self, groups: Sequence[Named], keys: Sequence[str]) -> None:
        self.groups, self.keys = groups, keys
        targets = {key for group in groups for key in group.settings if key.endswith(TARGET)}
        places = {key.removesuffix(TARGET) for key in targets}
        # Data, model and pruning as a whole are no objects among others: their arguments have names
        # of their own.
        self.objects = sorted(place for place in places if "." in place)

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
        alike = [one for one in self.groups if one.kind == group.kind]
        return [
            f"{name} {group.settings[LABEL + name]}"
            for name in KINDS
            if _varies(alike, LABEL + name) and is_told(group.settings.get(LABEL + name))
        ]

    def _tells(self, group: Named, key: str) -> bool:
        if key.removeprefix(LABEL) in KINDS:
            return False
        if _varies(self._others(group, key), key):
            return True
        # Other programs leave out what they do not know: that is no other value.
        alike = [g for g in self.groups if g.kind == group.kind and is_told(g.settings.get(key))]
        return group in alike and not key.startswith(ASKED) and _varies(alike, key)

    def _others(self, group: Named, key: str) -> list[Named]:
        """The groups in which a setting left out is one left to its default."""
        alike = [one for one in self.groups if _labels(one) == _labels(group)]
        if not key.startswith(ASKED):
            return alike
        return [one for one in alike if f"{one.nonzero:.3g}" == f"{group.nonzero:.3g}"]

    def _object(self, group: Named, place: str, name: str) -> list[str]:
        """The words for an object, or for what stands in its place."""
        target, own = group.settings.get(place + TARGET), self._own(place)
        if target is None:
            if is_told(group.settings.get(place)):
                return [f"{name} {self._value(group, place)}"]
            return [f"{name} none"] if own is not None else []
        other = target != own and _varies(self._others(group, place), place + TARGET)
        if other and _snake(_class(target)) != place.rpartition(".")[2]:
            return [f"{name} {self._text(group, place)}"]
        inside = [f"{name} {argument} {text}" for argument, text in self._arguments(group, place)]
        return inside or ([name] if other else [])

    def _own(self, place: str) -> Any:
        """The class that the recipe itself brings; None if it brings none, or that is not known."""
        socket = place.removeprefix("prune.")
        found = {
            group.settings.get(place + TARGET)
            for group in self.groups
            if place != socket and OBJECTS in group.settings and socket not in _chosen(group)
        }
        return found.pop() if len(found) == 1 else None

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
            if goes_without_saying(key) or not _varies(self._others(group, key), key):
                continue
            one = _within(key, below) or key
            name = one.removeprefix(f"{place}.")
            if one + TARGET in group.settings:
                found[name] = self._text(group, one)
            elif _is_said(group, key):
                found[name] = self._value(group, key)
        return [*found.items()]

    def _value(self, group: Named, key: str) -> str:
        """The value of a setting, of a long one class or ends, where no other's has the same."""
        whole = group.settings[key]
        others = {repr(one.settings.get(key)): one.settings.get(key) for one in self.groups}
        others.pop(repr(whole), None)
        if f".{key}".endswith(TARGET):
            known = {_class(other) for other in others.values() if is_told(other)}
            return _class(whole) if _class(whole) not in known else str(whole)
        for brief in (_called, _ends):
            known = {brief(in_short(other)) for other in others.values()}
            if (short := brief(in_short(whole))) not in known:
                return short
        return in_short(whole)


def _labels(group: Named) -> tuple[Any, ...]:
    return tuple(group.settings.get(LABEL + name) for name in KINDS)


def _varies(groups: Iterable[Named], key: str) -> bool:
    return len({repr(group.settings.get(key)) for group in groups}) > 1


def _is_said(group: Named, key: str) -> bool:
    """Whether a value is more than a default, and not what the figures are called by."""
    return is_told(group.settings.get(key)) and group.settings[key] != group.monitor.name


def _within(key: str, objects: Sequence[str]) -> str | None:
    """The outermost object that a setting is of."""
    return next((one for one in objects if key == one or key.startswith(f"{one}.")), None)


def _chosen(group: Named) -> set[str]:
    words = str(group.settings[OBJECTS]).split()
    return {word.partition("=")[0].replace("/", ".") for word in words}


def _class(target: Any) -> str:
    """A class's own name; of what is made by a method, both.

    >>> _class("l1prune.L1"), _class("l1prune.L1Pruning.finetune"), _class("l1prune.once")
    ('L1', 'L1Pruning.finetune', 'once')
    """
    found = re.search(r"(?:[A-Z]\w*\.)*\w+$", str(target))
    return found[0] if found else str(target)


def _ends(text: str) -> str:
    return shortened(text, WIDTH)


def _called(text: str) -> str:
    """Of a long object in words its class.

    >>> _called("Refit(Saliency(least=0.6, shrinkage=0.5), damping=0.1)"), _called("L1()")
    ('Refit(…)', 'L1()')
    """
    found = re.match(r"\w+\(", text) if len(text) > WIDTH else None
    return f"{found[0]}…)" if found else _ends(text)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
