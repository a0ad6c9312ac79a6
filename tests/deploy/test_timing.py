"""Works are timed in turns, and compared round by round; by clocks that no machine has."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from l1prune.deploy.timing import Paired, clock_of, speedup


class Machine:
    """Where time passes only by work, and a second of work takes as long as the machine is slow."""

    def __init__(self) -> None:
        self.now, self.slowness, self.log = 0.0, 1.0, list[str]()

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.now += seconds * self.slowness
            self.slowness *= 1.001

        return run

    def clock(self) -> float:
        return self.now


def test_times_are_those_of_one_call() -> None:
    machine = Machine()
    machine.work("", 0.0)()
    timer = Paired(lambda: round(machine.now, 6), rounds=3, least=1e-9)
    ((once, *_), (twice, *_)) = timer([machine.work("a", 1.0), machine.work("b", 2.0)])
    assert once == pytest.approx(1.0, rel=0.01) and twice == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_a_machine_that_slows_down_changes_no_ratio(ratio: float) -> None:
    machine = Machine()
    works = [machine.work("base", ratio), machine.work("other", 1.0)]
    found = speedup(*Paired(machine.clock, rounds=9, least=0.0)(works))
    assert found.median == pytest.approx(ratio, rel=0.002)
    assert machine.slowness > 1.015  # more than by what the ratio may be off


def test_what_is_short_is_repeated_until_it_can_be_timed() -> None:
    machine = Machine()
    short, long = machine.work("short", 0.01), machine.work("long", 5.0)
    Paired(machine.clock, rounds=2, least=1.0)([short, long])
    last = machine.log[machine.log.index("long") :]
    assert last.count("short") >= 2 * 60 and last.count("long") == 2 + 2  # warm, counted, rounds


def test_rounds_go_forwards_and_backwards() -> None:
    machine = Machine()
    works = [machine.work(name, 1.0) for name in "abc"]
    Paired(machine.clock, rounds=2, least=0.0)(works)
    assert "".join(machine.log[-6:]) == "abccba"


def test_quartiles_tell_how_sure_a_speedup_is() -> None:
    sure = speedup([2.0, 2.2, 1.8, 2.0, 2.0], [1.0] * 5)
    unsure = speedup([2.0, 9.0, 0.3, 0.4, 4.0], [1.0] * 5)
    assert sure.low > 1.5 and sure.median == 2.0
    assert unsure.low < 1 < unsure.high and unsure.median == 2.0


def test_one_thread_is_not_charged_for_waiting_several_are() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert clock_of(torch.device("cpu")) is time.process_time
        torch.set_num_threads(2)
        assert clock_of(torch.device("cpu")) is time.perf_counter
    finally:
        torch.set_num_threads(before)
