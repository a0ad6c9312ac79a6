"""Costs: what a person pays for a network that was deployed, from the `deploy.json` of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l1prune.checks import is_number
from l1prune.deploy.latency import BATCHES
from l1prune.runs.files import read_json

FOLDER, FILE = "deploy", "deploy.json"
VERSION = 1
LARGEST = 2.0**63
"""A figure is below it."""
COSTS = {
    "deploy/bytes": "bytes of the smallest file",
    "deploy/macs": "multiply-accumulates",
    **{f"deploy/latency_{n}": f"latency at batch {n}, over that in full size" for n in BATCHES},
}
"""What a person pays for, by the names of the figures on W&B and on the page of runs."""


def read_costs(file: Path) -> dict[str, float]:
    """What a person pays for the network in a `deploy.json`: see `costs_of`.

    Raises:
        OSError: there is no such file.
        ValueError: it is none, or a figure in it is impossible.
    """
    tree = read_json(file)
    try:
        return costs_of(tree)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a table of deployed forms: {error!r:.200}") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def costs_of(tree: Any) -> dict[str, float]:
    """The least that a person pays for a network, by the names in `COSTS`.

    Of each cost the least of all forms that are as good on the test set as the original. A latency
    is a share of the original's.

    Args:
        tree: as `Deployment.to_dict` makes it.

    Raises:
        ValueError: a figure is impossible; besides, what plain values of another shape raise.
    """
    if tree["version"] != VERSION:
        raise ValueError(f"is of version {tree['version']!r:.40}, this is {VERSION}")
    metric = str(tree["metric"])
    original = tree["variants"][0]
    good = _number(original["figures"].get(metric, 0))
    sign = -1 if "loss" in metric else 1
    found: dict[str, float] = {}
    for one in tree["variants"]:
        if sign * _number(one["figures"].get(metric, 0 if sign > 0 else LARGEST)) < sign * good:
            continue
        costs = {"deploy/bytes": _number(one["nbytes"]), "deploy/macs": _number(one["macs"])}
        for size in BATCHES:
            if latency := one["latency"].get(str(size)) or one["latency"].get(size):
                costs[f"deploy/latency_{size}"] = 1 / _number(latency["speed"], 1e-9)
        found = {
            name: min(cost, found.get(name, cost)) for name, cost in {**found, **costs}.items()
        }
    return found


def known_costs(figures: Mapping[str, Any]) -> dict[str, float]:
    """The costs among a run's figures on W&B; what is no number is none.

    >>> known_costs({"deploy/bytes": 100, "deploy/macs": "many", "test/loss": 1})
    {'deploy/bytes': 100}
    """
    return {name: figures[name] for name in COSTS if is_number(figures.get(name), 0)}


def _number(value: Any, low: float = 0) -> Any:
    if not is_number(value, low, LARGEST):
        raise ValueError(f"a figure must be a number from {low:g} up, but is {value!r:.40}")
    return value
