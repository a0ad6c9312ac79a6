"""Settings: what runs were told, by dotted names, and which of it tells them apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from l1prune.checks import flat, is_number

SEED = "seed"
FILES = (".bin", ".ckpt", ".csv", ".npy", ".npz", ".parquet", ".pt", ".pth", ".safetensors")
"""By which the name of a file of weights or of data is known."""
KINDS = ("data", "model")
"""What is trained on what; runs of other kinds are hardly told the same settings."""
LABEL = "labels."
"""Begins what data, model and recipe are called."""
OBJECTS = "labels.objects"
"""The objects that were put in the place of a recipe's own, by the names of their configs."""
TARGET = "._target_"
"""Ends the setting that names the class of an object."""


class Told(Protocol):
    """What was told something: a run, or a group of them."""

    @property
    def recipe(self) -> str:
        """How it was pruned."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was told, by dotted names."""
        ...


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What can change the result of a run, flat: not who took notes, nor where.

    >>> settings({"run_dir": "a", "seed": 3, "data": {"path": "a/b", "shape": [1, 8, 8]}})
    {'seed': 3, 'data.shape': '[1, 8, 8]'}
    """
    place = str(config.get("run_dir") or "")
    return {
        key: _plain(value)
        for key, value in flat(config).items()
        if not key.startswith("logger.") and not (place and place in str(value))
    }


def differing(points: Sequence[Told]) -> list[str]:
    """The settings that tell runs apart, beyond what their recipe says; the seed last.

    Of settings that always change together the shortest name is enough. A setting of pruning that
    is the same in all runs of a recipe goes by the recipe's name.

    >>> from l1prune.runs.points import Point
    >>> runs = [Point("a", "l1", 1, 0.9, settings={"seed": n, "data.seed": n}) for n in (0, 1)]
    >>> differing(runs)
    ['seed']
    """
    keys = {key for point in points for key in point.settings}
    chosen: dict[tuple[str, ...], str] = {}
    for key in sorted(keys, key=lambda key: (key != SEED, key.count("."), key)):
        column = tuple(
            repr(point.settings[key]) if key in point.settings else "" for point in points
        )
        by_recipe = {(point.recipe, value) for point, value in zip(points, column, strict=True)}
        recipes = len({recipe for recipe, _ in by_recipe})
        told = key.startswith(("prune.", "labels.prune")) and len(by_recipe) == recipes
        if len(set(column)) > 1 and not told:
            chosen.setdefault(column, key)
    return sorted(chosen.values(), key=lambda key: (key == SEED, not key.startswith("prune.")))


class Seeded(Told, Protocol):
    """What was told something, a seed too."""

    @property
    def seed(self) -> int | None:
        """The seed, where it is known."""
        ...


def apart_from_seeds(runs: Sequence[Seeded]) -> list[dict[str, Any]]:
    """The settings of runs, in which files that follow the seed go by what their names share.

    Each seed may begin with weights of its own, or learn from a part of the data: that is as
    little another recipe as the seed is. A file follows the seed if, of runs that are alike
    otherwise, each seed has one and no two have the same. Its numbers become stars.

    >>> from l1prune.runs.points import Point
    >>> told = [{"seed": n, "model.pretrained": f"runs/{n + 4}/best.ckpt"} for n in (0, 1)]
    >>> apart_from_seeds([Point("a", "l1", 1, 0.9, settings=one) for one in told])[1]
    {'seed': 1, 'model.pretrained': 'runs/*/best.ckpt'}
    """
    shared = [
        {k: _starred(v) if _is_file(v) else v for k, v in run.settings.items()} for run in runs
    ]
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, (run, told) in enumerate(zip(runs, shared, strict=True)):
        others = sorted((k, repr(v)) for k, v in told.items() if not is_seed(k))
        alike[(run.recipe, *others)].append(number)
    for numbers in alike.values():
        for key in [key for key, value in shared[numbers[0]].items() if _is_file(value)]:
            pairs = {(runs[n].seed, runs[n].settings[key]) for n in numbers}
            seeds, files = map(set, zip(*pairs, strict=True))
            if None in seeds or not len(seeds) == len(files) == len(pairs) > 1:
                for n in numbers:
                    shared[n][key] = runs[n].settings[key]
    return shared


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(FILES)


def _starred(file: str) -> str:
    return re.sub(r"\d+", "*", file)


def is_seed(key: str) -> bool:
    """Whether a setting is the seed of something: what makes of one run many.

    >>> is_seed("data.seed"), is_seed("seeded")
    (True, False)
    """
    return key.rpartition(".")[2] == SEED


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


def is_of_training(key: str) -> bool:
    """Whether a setting says how a network is trained: not how it is pruned, nor from which seed.

    >>> [is_of_training(key) for key in ("trainer.max_epochs", "prune.strength", "data.seed")]
    [True, False, False]
    """
    return not (is_seed(key) or goes_without_saying(key) or key.startswith(("prune.", LABEL)))


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
                configs[class_name(run[name + TARGET])].add(label)
        one = {of: labels.pop() for of, labels in configs.items() if len(labels) == 1}
        columns.append(
            [
                label if name + TARGET in run else one.get(str(label), label)
                for run, label in zip(runs, labels, strict=True)
            ]
        )
    return list(zip(*columns, strict=True))


def class_name(target: Any) -> str:
    """A class's own name; of what is made by a method, both.

    >>> class_name("l1prune.L1"), class_name("l1prune.L1Pruning.finetune"), class_name("mine.once")
    ('L1', 'L1Pruning.finetune', 'once')
    """
    found = re.search(r"(?:[A-Z]\w*\.)*\w+$", str(target))
    return found[0] if found else str(target)


def short_names(keys: Sequence[str]) -> list[str]:
    """As little of each setting's name as tells it from the others; a class goes by its socket.

    >>> short_names(["seed", "prune.threshold.sparsity", "model.lr", "data.lr", "a.net._target_"])
    ['seed', 'sparsity', 'model.lr', 'data.lr', 'net']
    """
    names: dict[str, str] = {}
    parts = {key: key.removesuffix(TARGET).split(".") for key in keys}
    for n in range(1, max(map(len, parts.values()), default=0) + 1):
        ends = {key: ".".join(words[-n:]) for key, words in parts.items()}
        counts = Counter(ends.values())
        names |= {key: end for key, end in ends.items() if counts[end] == 1}
        parts = {key: words for key, words in parts.items() if key not in names}
    return [names.get(key, key) for key in keys]


def is_told(value: Any) -> bool:
    """Whether a setting was given a value: not left to its default.

    >>> is_told(0), is_told("None")
    (True, False)
    """
    return value is not None and value != "None"


def in_short(value: Any) -> str:
    """A setting's value as people read it: numbers with four digits that count.

    >>> in_short(0.1 + 0.2), in_short(30), in_short("L1()"), in_short(2.5e-05)
    ('0.3', '30', 'L1()', '2.5e-05')
    """
    if is_number(value) and not isinstance(value, int):
        return f"{value:.4g}"
    return str(value)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float)) else str(value)
