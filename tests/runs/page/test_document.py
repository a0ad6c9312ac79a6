"""What the page is made of: all runs, nothing of theirs as markup, the same bytes for the same."""

from __future__ import annotations

import json
import random
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from l1prune.runs.page import render
from l1prune.runs.points import Point
from l1prune.weights.report import Layer

EVIL = "</script x</script><script>alert(1)</script><!--<script>&lt;\u2028\udc80"
LAYERS = (Layer("a", (2, 3), 6, 1), Layer("b", (4,), 4, 4))


class Elements(HTMLParser):
    """The elements of a page as a browser would see them, with the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.policy = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)


def read(page: str) -> dict[str, Any]:
    """The data of a page."""
    [text] = [text for attributes, text in Elements(page).scripts if attributes.get("id") == "data"]
    assert not set("<>&") & set(text), "whatever a parser takes for the end of a script"
    found: dict[str, Any] = json.loads(text)
    return found


def some_runs(count: int = 12) -> list[Point]:
    draws = random.Random(0)
    return [
        Point(
            f"run {i}",
            draws.choice(["l1", "l2", "dense"]),
            draws.randint(1, 9),
            draws.randint(1, 9) / 10,
            {"params/prunable": 10},
            {"seed": i},
            LAYERS if i % 2 else LAYERS[:1],
            {"epoch": [0.0, 1.0], "loss": [0.123456789, None]},
        )
        for i in range(count)
    ]


def test_page_has_every_run_with_all_that_it_left() -> None:
    points = some_runs()
    found = read(render(points))
    assert {run["name"] for run in found["runs"]} == {point.name for point in points}
    order = [run["nonzero"] for run in found["runs"]]
    assert order == sorted(order, reverse=True)
    for run in found["runs"]:
        point = next(point for point in points if point.name == run["name"])
        assert (run["recipe"], run["figure"]) == (point.recipe, point.figure)
        assert run["seed"] == point.settings["seed"]
        names = [(layer.name, layer.total, layer.nonzero) for layer in point.layers]
        network = found["networks"][run["network"]]
        assert [(n, total, left) for (n, _, total), left in zip(network, run["left"])] == names
        assert run["history"] == {"epoch": [0, 1], "loss": [0.123457, None]}
    networks = [[["a", "2×3", 6]], [["a", "2×3", 6], ["b", "4", 4]]]
    assert sorted(found["networks"]) == networks, "each once"


def test_same_runs_same_bytes_whatever_their_order() -> None:
    points = some_runs()
    shuffled = random.Random(1).sample(points, len(points))
    assert render(points) == render(shuffled)


def test_nothing_of_a_run_is_markup() -> None:
    plain, evil = (
        Point("a", "l1", 1, 0.5, settings={"b": 1}),
        Point(
            EVIL,
            EVIL,
            1,
            0.5,
            {},
            {EVIL: EVIL},
            [Layer(EVIL, (1,), 1, 1)],
            {"epoch": [0], EVIL: [1]},
        ),
    )
    page = render([plain, evil])
    assert Elements(page).tags == Elements(render([plain, plain])).tags
    [run] = [run for run in read(page)["runs"] if run["name"] == EVIL]
    assert (run["recipe"], run["settings"], run["history"][EVIL]) == (EVIL, {EVIL: EVIL}, [1])
    page.encode()  # a file name need not be Unicode, a page must be


def test_only_the_scripts_of_the_page_may_run_and_nothing_is_fetched() -> None:
    elements = Elements(render(some_runs()))
    data, *scripts = elements.scripts
    assert data[0] == {"type": "application/json", "id": "data"}
    digests = [b64encode(sha256(text.encode()).digest()).decode() for _, text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert len(scripts) == 2 and f"script-src {allowed};" in elements.policy
    assert elements.policy.startswith("default-src 'none';")
    own = re.sub(r"<script.*?</script>", "", render(some_runs()), flags=re.DOTALL)
    assert "http:" not in own and "https:" not in own and "{{" not in own


def test_each_table_says_what_its_own_star_means() -> None:
    page = render(some_runs())
    sections = {name: page.split(f'<table id="{name}"')[1] for name in ("groups", "table")}
    notes = {
        name: re.findall(r'class="note">(.*?)</p>', text)[0] for name, text in sections.items()
    }
    assert "★ No other recipe and size is as good on" in notes["groups"]
    assert "★ Its recipe and size is one of the best trade-offs" in notes["table"]
    assert "of means where they share none" in notes["groups"]


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_a_gap(x: float) -> None:
    point = Point("a", "l1", 1, 0.5, settings={"x": x}, history={"epoch": [0, 1], "loss": [1, x]})
    found = read(render([point, replace(point, settings={"x": 1.0})]))
    assert found["runs"][0]["history"]["loss"] == [1, None]


def test_no_run_is_no_page() -> None:
    with pytest.raises(ValueError, match="no run to show"):
        render([])
