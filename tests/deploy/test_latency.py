"""Latency: by a clock that is known, each execution takes what it takes, whatever else happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from l1prune.deploy import latency
from l1prune.deploy.latency import latencies


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Callable[[], None]]:
    """Calls that take so many seconds, by a clock that they turn themselves."""
    now, turns = [0.0], [0]

    def made(seconds: float) -> Callable[[], None]:
        def call() -> None:
            turns[0] += 1
            busy = 3 if turns[0] % 1000 < 300 else 1  # at times all is slower
            now[0] += busy * seconds

        return call

    monkeypatch.setattr(latency.time, "process_time", lambda: now[0])
    return made


def test_the_first_is_what_others_are_compared_with(
    work: Callable[[float], Callable[[], None]],
) -> None:
    found = latencies({"slow": work(0.004), "same": work(0.004), "fast": work(0.001)})
    assert list(found) == ["slow", "same", "fast"]
    assert found["slow"].speed == 1
    assert found["same"].speed == pytest.approx(1)
    assert found["fast"].speed == pytest.approx(4)
    assert found["fast"].seconds == pytest.approx(found["slow"].seconds / 4)


def test_all_take_their_turn_in_every_round() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b", "c")}
    latencies(calls, rounds=4)
    starts = [name for name, before in zip(order, ["", *order]) if name != before]
    # Each finds out how often it fills a turn, twice; then they go forwards and backwards.
    assert "".join(starts)[-9:] == "abcbabcba"


def test_nothing_to_time_takes_no_time() -> None:
    assert latencies({}) == {}
