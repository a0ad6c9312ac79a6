"""The page in a real browser: no error, sorting, hovering, choosing, on a phone and in the dark."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l1prune.runs.frontier import pareto
from l1prune.runs.looks import SYMBOLS
from l1prune.runs.monitor import Monitor
from l1prune.runs.page import render
from l1prune.runs.points import Point
from l1prune.weights.report import Layer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

# DevTools speaks through two inherited pipes that have to be numbers 3 and 4.
AS_3_AND_4 = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for wanted, pipe in zip((3, 4), pipes):
    os.dup2(pipe, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
LOCAL = ("file:", "data:", "blob:", "about:")
WEIGHTS = "prunable weights left"
PATIENCE = 60  # seconds before a browser that says nothing counts as broken


class Browser:
    """A headless Chromium with one tab, and what it complained about."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        its_input, self._commands = os.pipe()
        self._answers, its_output = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command = [CHROMIUM, *options, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_3_AND_4, str(its_input), str(its_output), *command],
            pass_fds=(its_input, its_output),
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        self._unread, self._count, self._session = b"", 0, {}
        self.complaints: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its answer, noting what happens meanwhile."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            self._note(answer.get("method", ""), answer.get("params", {}))
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._answers], [], [], PATIENCE)[0], "the browser says nothing"
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser is gone"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(about["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(f"{about['entry']['level']}: {about['entry']['text']}")
        elif method == "Network.requestWillBeSent" and not about["request"]["url"].startswith(
            LOCAL
        ):
            self.complaints.append(f"asked for {about['request']['url']}")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; of what it promises, if it is a promise."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def open(self, points: list[Point], file: Path, width: int = 1280, dark: bool = False) -> None:
        file.write_text(render(points), encoding="utf-8")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        phone = width < 640
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone}
        self("Emulation.setDeviceMetricsOverride", **size)
        self("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.complaints.clear()
        self("Page.navigate", url=file.as_uri())
        self.wait("performance.getEntriesByName('drawn').length === 1")

    def move(self, place: dict[str, float]) -> None:
        self("Input.dispatchMouseEvent", type="mouseMoved", **place)

    def click(self, place: dict[str, float]) -> None:
        self.move(place)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def tap(self, place: dict[str, float]) -> None:
        self("Input.dispatchTouchEvent", type="touchStart", touchPoints=[place])
        self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def close(self) -> None:
        self("Browser.close")
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def file(tmp_path: Path, browser: Browser) -> Iterator[Path]:
    """Where the page goes. Whatever a test does, nothing may be complained about."""
    yield tmp_path / "compare.html"
    browser.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert browser.complaints == []


def runs(count: int, recipes: tuple[str, ...] = ("l1", "gradual", "dense")) -> list[Point]:
    """Runs that leave everything; every fifth leaves neither layers nor curves."""
    draws = random.Random(0)
    made = []
    for i in range(count):
        left = draws.randint(10, 5000)
        whole = i % 5 != 4
        curve = [draws.random() for _ in range(10)]
        made.append(
            Point(
                name=f"sweep/{i}",
                recipe=recipes[i % len(recipes)],
                nonzero=2 * left,
                figure=draws.random(),
                summary={"params/prunable": 20_000, "params/total": 80_000, "seed": i},
                settings={"prune.threshold.sparsity": 1 - left / 10_000, "seed": i},
                layers=[Layer(f"net.{n}.weight", (100, 100), 10_000, left) for n in (1, 3)] * whole,
                history={"epoch": list(range(10)), "val/accuracy": curve} if whole else {},
            )
        )
    return made


def column(browser: Browser, name: str) -> list[str]:
    """The cells of the table that are in view, from top to bottom."""
    return browser.run(f"""(() => {{
        const heads = [...document.querySelectorAll("#table th")].map((th) => th.textContent);
        const at = heads.indexOf("{name}");
        const rows = [...document.querySelectorAll("#table tbody tr")].filter((row) => !row.hidden);
        return rows.map((row) => row.cells[at].lastChild.textContent);
    }})()""")


def press(browser: Browser, header: str) -> None:
    browser.run(f"""[...document.querySelectorAll("#table th button")]
        .find((button) => button.textContent === "{header}").click()""")


def point_of(browser: Browser, name: str) -> dict[str, float]:
    """Where the point of a run is on the screen."""
    return browser.run(f"""(() => {{
        const chart = $("scatter"), run = runs.find((run) => run.name === "{name}");
        const box = chart.getBoundingClientRect(), {{ xaxis, yaxis }} = chart._fullLayout;
        return {{
            x: box.x + xaxis._offset + xaxis.d2p(run.nonzero),
            y: box.y + yaxis._offset + yaxis.d2p(100 * run.figure),
        }};
    }})()""")


def chips(browser: Browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('#chips button')].map((chip) => chip.title)")


def test_a_click_on_a_header_sorts_and_another_turns_it_round(browser: Browser, file: Path) -> None:
    points = runs(23)
    browser.open(points, file)
    left = sorted((point.nonzero for point in points), reverse=True)
    weights = [f"{n:,} ({20_000 / n:,.1f}×)" for n in left]
    assert column(browser, WEIGHTS) == weights
    everything = [f"{n + 60_000:,} ({80_000 / (n + 60_000):.1f}×)" for n in left]
    assert column(browser, "all parameters left") == everything
    accuracies = [f"{100 * a:.2f} %" for a in sorted(point.figure for point in points)]
    press(browser, "test accuracy")
    assert column(browser, "test accuracy") == accuracies[::-1]
    press(browser, "test accuracy")
    assert column(browser, "test accuracy") == accuracies
    press(browser, "run")  # numbers in names count as numbers
    assert column(browser, "run") == [f"sweep/{i}" for i in range(23)]
    press(browser, WEIGHTS)
    assert column(browser, WEIGHTS) == weights
    sorts = browser.run("[...document.querySelectorAll('#table th')].map((th) => th.ariaSort)")
    assert [one for one in sorts if one] == ["descending"]


def test_a_filter_leaves_the_rows_with_all_its_words(browser: Browser, file: Path) -> None:
    browser.open(runs(23), file)
    browser.run("$('filter').value = 'L1 SPARSITY'; $('filter').dispatchEvent(new Event('input'))")
    assert set(column(browser, "recipe")) == {"l1"}
    assert browser.run("$('shown').textContent") == "8 of 23"
    browser.run("$('filter').value = ''; $('filter').dispatchEvent(new Event('input'))")
    assert len(column(browser, "recipe")) == 23


def test_hovering_a_point_says_how_the_run_was_set(browser: Browser, file: Path) -> None:
    points = runs(7)
    browser.open(points, file)
    browser.move(point_of(browser, "sweep/3"))
    browser.wait("document.querySelector('#scatter .hovertext') !== null")
    told = browser.run("document.querySelector('#scatter .hovertext').textContent")
    sparsity = points[3].settings["prune.threshold.sparsity"]
    left = points[3].nonzero
    assert f"prunable weights left {left:,} ({20_000 / left:.1f}× fewer)" in told
    assert f"all parameters left {left + 60_000:,} (" in told
    for words in ("sweep/3", f"sparsity {sparsity}", "seed 3"):
        assert words in told


def test_what_is_clicked_is_chosen_everywhere(browser: Browser, file: Path) -> None:
    browser.open(runs(7), file)
    front = [point.name for point in pareto(runs(7))]
    assert chips(browser) == front  # to begin with
    browser.run("$('none').click()")
    assert browser.run("!$('no-curves').hidden && !$('no-layers').hidden")
    browser.click(point_of(browser, "sweep/3"))
    browser.wait("document.querySelectorAll('#chips button').length === 1")
    browser.run("runs.find((run) => run.name === 'sweep/4').row.click()")  # it left no curves
    browser.run("runs.find((run) => run.name === 'sweep/5').box.click()")
    assert chips(browser) == ["sweep/3", "sweep/4", "sweep/5"]
    assert browser.run("$('curves').data.map((line) => line.text.at(-1).trim())") == ["1", "3"]
    assert browser.run("$('layers').data[0].x") == ["1", "3"]
    assert browser.run("$('layers').data[0].y") == ["net.1", "net.3"]
    assert browser.run("document.querySelectorAll('#table tr.chosen input:checked').length") == 3
    browser.run("document.querySelector('#chips button').click(); $('best').click()")
    assert chips(browser) == front


def test_a_tap_chooses_once_and_says_how_the_run_was_set(browser: Browser, file: Path) -> None:
    browser.open(runs(7), file, width=390)
    browser.run("$('none').click()")
    browser.tap(point_of(browser, "sweep/3"))
    browser.wait("document.querySelector('#scatter .hovertext') !== null")
    browser.wait("document.querySelectorAll('#chips button').length === 1")
    browser.run("new Promise((done) => setTimeout(done, 500))")  # a second one would come by now
    assert chips(browser) == ["sweep/3"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, file: Path, width: int, dark: bool
) -> None:
    long = replace(runs(1)[0], name="a_very_long_name_of_a_run/" * 9, recipe="quite_a_recipe" * 4)
    browser.open([*runs(40), long], file, width, dark)
    browser.run("choose(runs.slice(0, 20)).then(() => true)")
    assert browser.run("document.documentElement.scrollWidth") <= width
    lightness = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(lightness) < 128) == dark
    assert browser.run("$('scatter')._fullLayout.paper_bgcolor === css('--card')")


def test_a_dot_has_the_shape_and_the_colour_of_the_marker(browser: Browser, file: Path) -> None:
    browser.open(runs(12, ("l1", "gradual", "magnitude", "mine", "dense")), file)
    for table in ("groups", "table"):
        dots = browser.run(f"""[...document.querySelectorAll("#{table} tbody tr")].map((row) => [
            row.querySelector("td span").textContent.split(",")[0],
            row.querySelector("path").getAttribute("d"),
            getComputedStyle(row.querySelector("svg")).fill,
        ])""")
        shapes = {recipe: (shape, fill) for recipe, shape, fill in dots}
        assert len(shapes) == 5 and len({shape for shape, _ in shapes.values()}) >= 4
        assert shapes["l1"][1] == "rgb(0, 114, 178)" and shapes["gradual"][1] == "rgb(213, 94, 0)"
    for recipe in shapes:
        symbol = browser.run(f"recipes.{recipe}.symbol")
        assert shapes[recipe][0] == browser.run(f"SHAPES['{symbol}']")


def test_every_marker_has_a_shape(browser: Browser, file: Path) -> None:
    browser.open(runs(3), file)
    assert {*SYMBOLS, "star"} == {*browser.run("Object.keys(SHAPES)")}


def test_names_are_words_and_nothing_else(browser: Browser, file: Path) -> None:
    bad = "</script x</script><script>hurt=1</script><img src=x onerror=hurt=1><b>&amp;%{x}"
    odd = replace(runs(1)[0], name=bad, recipe=bad, settings={bad: bad, "prune.x": bad})
    odd = replace(odd, layers=[Layer(bad, (2, 2), 4, 1)], history={"epoch": [0], bad: [None]})
    browser.open([*runs(3), odd], file)
    browser.run("choose(runs).then(() => true)")
    assert browser.run("typeof hurt") == "undefined"
    titles = browser.run("[...document.querySelectorAll('#table td')].map((cell) => cell.title)")
    assert titles.count(bad) == 3, "recipe, run, and a setting: in full where the mouse rests"
    legend = browser.run("[...document.querySelectorAll('.legendtext')].map((t) => t.textContent)")
    assert bad in legend


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString", "hasOwnProperty"])
def test_what_every_object_has_may_be_a_name(browser: Browser, file: Path, name: str) -> None:
    odd = replace(runs(1)[0], recipe=name, settings={name: 1}, history={"epoch": [0], name: [1]})
    browser.open([*runs(3), odd], file)
    browser.run("choose(runs).then(() => true)")
    browser.run(f"$('curve').value = {name!r}; drawCurves().then(() => true)")
    assert browser.run("$('curves').data.length") == 1
    assert sorted(column(browser, name)) == ["", "", "", "1"]


def test_a_run_may_leave_two_figures_and_nothing_else(browser: Browser, file: Path) -> None:
    browser.open([Point("by hand", "pruned", 0, 0.0)], file)
    assert column(browser, WEIGHTS) == ["0"]
    assert column(browser, "all parameters left") == ["—"], "it has not said how many"
    assert browser.run("!$('no-curves').hidden && !$('no-layers').hidden && $('curve').disabled")


def test_accuracy_is_drawn_against_what_a_run_costs(browser: Browser, file: Path) -> None:
    costs = [{"deploy/bytes": 900 - 10 * i, "deploy/latency_64": 0.5} for i in range(6)]
    points = [replace(p, costs=c) for p, c in zip(runs(6), costs)]
    browser.open([*points, *runs(9)[6:]], file)
    options = browser.run("[...$('axis').options].map((option) => option.value)")
    assert options == ["nonzero", "deploy/bytes", "deploy/latency_64"]
    browser.run("$('axis').value = 'deploy/bytes'; $('axis').onchange().then(() => true)")
    drawn = browser.run("$('scatter').data.filter(({ name }) => name).flatMap(({ x }) => [...x])")
    assert sorted(drawn) == [850, 860, 870, 880, 890, 900]
    assert browser.run("$('without').textContent") == "3 of 9 runs are not deployed"
    best = [p.name for p in pareto(points, lambda p: p.costs["deploy/bytes"])]
    assert browser.run("front().map((group) => group.runs[0].name)") == best
    assert sorted(column(browser, "bytes"))[:3] == ["", "", ""]


def test_without_deployed_runs_there_is_nothing_to_choose(browser: Browser, file: Path) -> None:
    browser.open(runs(3), file)
    assert browser.run("$('priced').hidden && !document.body.innerText.includes('latency')")


def test_a_thousand_runs_are_all_there(browser: Browser, file: Path) -> None:
    browser.open(runs(1000), file)
    assert len(column(browser, "run")) == 1000
    assert browser.run("document.querySelectorAll('#scatter .point').length") >= 1000
    assert len(chips(browser)) <= 8


def test_a_phone_shows_what_a_run_came_to_before_what_it_is_called(
    browser: Browser, file: Path
) -> None:
    long = "a_very_long_name_of_a_sweep_of_many_runs_in_one_folder/"
    browser.open([replace(p, name=long + p.name) for p in runs(5)], file, width=390)
    seen = browser.run("""[...document.querySelectorAll("#table th")]
        .filter((th) => th.getBoundingClientRect().right <= 390).map((th) => th.textContent)""")
    assert {"recipe", WEIGHTS, "seed"} <= set(seen)
    assert {name[-7:] for name in column(browser, "run")} == {f"sweep/{i}" for i in range(5)}


LONG = "a-recipe-with-a-rather-long-name-that-differs-only-at-its-end-"


def long_names(count: int) -> list[Point]:
    """Runs of recipes whose names differ at their ends, one setting of which is long too."""
    told = "SparsityPath(sparsities=(0.5, 0.8, 0.95), scope=Relative(floor=0.1))"
    made = runs(count, (f"{LONG}one", f"{LONG}two", "dense"))
    return [
        replace(p, settings={**p.settings, "threshold": told + "()" * (i % 2)})
        for i, p in enumerate(made)
    ]


BOXES = """(some) => [...document.querySelectorAll(some)].map((one) => {
    const { left, right, top, bottom, width } = one.getBoundingClientRect();
    return { left, right, top, bottom, width, text: one.textContent };
}).filter(({ width }) => width)"""


def boxes(browser: Browser, selector: str) -> list[dict[str, Any]]:
    """Where some elements are on the page, those that can be seen."""
    return browser.run(f"({BOXES})({json.dumps(selector)})")


def test_a_phone_shows_long_names_whole_with_what_they_came_to(
    browser: Browser, file: Path
) -> None:
    browser.open(long_names(6), file, width=390)
    whole = {f"{LONG}one", f"{LONG}two", "dense"}
    for table, columns in (("groups", 4), ("table", 3)):
        (room,) = boxes(browser, f".scroll:has(#{table})")
        heads = boxes(browser, f"#{table} th")
        assert heads[0]["text"] == "recipe" and heads[1]["text"] == WEIGHTS
        assert all(head["right"] <= room["right"] for head in heads[:columns])
        names = boxes(browser, f"#{table} td:first-child span")
        assert {name["text"].split(", ")[0] for name in names} == whole
        assert all(name["right"] <= heads[1]["left"] for name in names)
        browser.run(f"document.querySelector('.scroll:has(#{table})').scrollLeft = 200")
        moved = boxes(browser, f"#{table} td:first-child span")
        assert [one["left"] for one in moved] == [one["left"] for one in names], "names stay"


@pytest.mark.parametrize("width", [390, 1400])
def test_the_legend_says_names_to_their_ends_with_nothing_over_it(
    browser: Browser, file: Path, width: int
) -> None:
    browser.open(long_names(6), file, width=width)
    (chart,) = boxes(browser, "#scatter")
    legend = boxes(browser, "#scatter .legendtext")
    assert {one["text"] for one in legend} == {f"{LONG}one", f"{LONG}two", "dense"}
    assert all(chart["left"] <= one["left"] and one["right"] <= chart["right"] for one in legend)
    assert all(one["bottom"] <= chart["bottom"] for one in legend)
    for bar in boxes(browser, "#scatter .modebar"):
        assert all(one["top"] >= bar["bottom"] for one in legend)
    (plane,) = boxes(browser, "#scatter .cartesianlayer .xy .gridlayer")
    assert plane["bottom"] - plane["top"] > 150, "what is drawn has most of the room"


def test_no_column_is_cut_where_there_is_room_for_all(browser: Browser, file: Path) -> None:
    browser.open(long_names(6), file, width=1400)
    (room,) = boxes(browser, ".scroll:has(#table)")
    heads = boxes(browser, "#table th")
    assert "threshold" in [head["text"] for head in heads]
    assert all(head["right"] <= room["right"] for head in heads)


def test_what_is_far_off_is_at_the_edge_and_said(browser: Browser, file: Path) -> None:
    near = [replace(p, figure=0.9 + i / 1000) for i, p in enumerate(runs(9))]
    browser.open([*near, replace(runs(10)[9], figure=0.1)], file)
    assert browser.run("$('scatter')._fullLayout.yaxis.range[0]") > 80
    assert browser.run("$('far-note').textContent") == "1 far off, at the edge as ▽"
    texts = "$('scatter').data.flatMap(({ text }) => text ?? []).includes('10.00 %')"
    assert browser.run(texts)
    browser.run("$('whole').click()")
    browser.wait("$('scatter')._fullLayout.yaxis.range[0] < 10")
    assert not browser.run(texts)


def test_each_metric_has_its_own_axis_with_the_better_end_up(browser: Browser, file: Path) -> None:
    mse = Monitor("val/mse", "min")
    others = [
        replace(p, name=f"mse/{i}", figure=0.1 * i, monitor=mse) for i, p in enumerate(runs(4))
    ]
    browser.open([*runs(7), *others], file)
    assert len(column(browser, "run")) == 7
    browser.run("$('metric').value = 1; $('metric').onchange().then(() => true)")
    assert sorted(column(browser, "run")) == [f"mse/{i}" for i in range(4)]
    assert column(browser, "test mse")[:1] != [""] and "%" not in "".join(
        column(browser, "test mse")
    )
    low, high = browser.run("$('scatter')._fullLayout.yaxis.range")
    assert low > high, "less is better, and up"
    axis = browser.run("$('scatter')._fullLayout.yaxis.title.text")
    assert axis == "test mse (lower is better)"
    head = browser.run("document.querySelector('#groups th [data-head=title]').textContent")
    assert head == "test mse"


def test_a_group_is_a_marker_at_its_mean_and_chooses_its_runs(browser: Browser, file: Path) -> None:
    told = {"settings": {"prune.threshold.sparsity": 0.9}, "nonzero": 2000}
    points = [replace(p, **told) for p in runs(6, ("l1",))]
    browser.open(points, file)
    assert browser.run("document.querySelectorAll('#groups tbody tr').length") == 1
    drawn = browser.run("$('scatter').data.filter(({ name }) => name).map(({ y }) => [...y])")
    (mean,) = drawn[1]
    assert len(drawn[0]) == 6 and abs(mean - sum(drawn[0]) / 6) < 1e-9
    browser.run("groups[0].row.click()")
    assert len(chips(browser)) == 6
    text = browser.run("document.querySelector('#chips button').textContent")
    assert text == "1l1 · 10 % · seed 0"
