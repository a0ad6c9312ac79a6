"""Schedules: strength over progress."""

import dataclasses
import math
import pickle

import pytest

from l1prune.pressure.schedules import Constant, Cosine, Cubic, Join, Linear, WarmupHoldDecay

RAMPS = [Linear, Cosine, Cubic]
SCHEDULES = [
    Constant(0.3),
    *(ramp(0.0, 0.3) for ramp in RAMPS),
    *(ramp(0.7, 0.1) for ramp in RAMPS),
    WarmupHoldDecay(0.3),
    WarmupHoldDecay(0.3, warmup=0.0, decay=0.25),
    Join([Linear(0.0, 0.3), Constant(0.3), Cosine(0.3, 0.0)], [0.4, 0.9]),
]
PROGRESS = [i / 1000 for i in range(1001)]

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
every_ramp = pytest.mark.parametrize("ramp", RAMPS)


@every_schedule
def test_a_schedule_is_a_value(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule == dataclasses.replace(schedule)
    assert len({schedule, dataclasses.replace(schedule)}) == 1
    assert [other for other in SCHEDULES if other == schedule] == [schedule]
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.steps = 1


@every_schedule
def test_progress_slightly_or_far_outside_counts_as_the_end(schedule):
    assert schedule(-1e-12) == schedule(-3) == schedule(0.0)
    assert schedule(1.0000001) == schedule(math.inf) == schedule(1.0)


@every_schedule
def test_progress_that_is_no_number_is_refused(schedule):
    with pytest.raises(ValueError, match="progress"):
        schedule(math.nan)


@every_schedule
def test_strength_is_finite_and_never_negative(schedule):
    assert all(0 <= schedule(p) <= 0.7 + 1e-15 for p in PROGRESS)


@every_ramp
@pytest.mark.parametrize(("start", "end"), [(0.0, 1e-4), (0.7, 0.1), (0.1, 0.3)])
def test_a_ramp_starts_and_ends_exactly_and_never_turns_back(ramp, start, end):
    strengths = [ramp(start, end)(p) for p in PROGRESS]
    assert strengths[0] == start and strengths[-1] == end
    assert sorted(strengths, reverse=end < start) == strengths


@every_ramp
def test_a_ramp_down_mirrors_the_ramp_up(ramp):
    for p in PROGRESS:
        assert math.isclose(ramp(0.2, 0.9)(p) + ramp(0.9, 0.2)(p), 1.1)


def test_each_ramp_has_its_shape():
    up = {ramp: ramp(0.0, 1.0) for ramp in RAMPS}
    # A straight line gains as much everywhere; a cosine is symmetric; of what a cubic ramp has
    # left to go, an eighth remains halfway, wherever one begins to look.
    for p in PROGRESS:
        assert math.isclose(up[Linear](p), p)
        assert math.isclose(up[Cosine](p) + up[Cosine](1 - p), 1.0)
        assert math.isclose(8 * (1 - up[Cubic]((1 + p) / 2)), 1 - up[Cubic](p), abs_tol=1e-12)
    # Level at the ends that should be, steep at the others.
    assert up[Cosine](0.001) < 1e-5 and 1 - up[Cosine](0.999) < 1e-5
    assert 1 - up[Cubic](0.99) < 2e-6 and up[Cubic](0.01) > 0.0297


def test_warmup_hold_decay():
    press = WarmupHoldDecay(2.0, warmup=0.4, decay=0.2)
    assert press(0.0) == 0.0 and press(1.0) == 0.0
    assert all(press(p) == 2.0 for p in PROGRESS if 0.4 <= p < 0.8)
    assert math.isclose(press(0.1), 0.5) and math.isclose(press(0.95), 0.5)
    assert all(press(p) < 2.0 for p in PROGRESS if p < 0.4 or p > 0.8)


def test_without_warmup_or_decay_the_peak_is_held_to_the_ends():
    assert WarmupHoldDecay(2.0, warmup=0.0)(0.0) == 2.0 == WarmupHoldDecay(2.0)(1.0)
    assert WarmupHoldDecay(2.0, warmup=1.0)(0.75) == 1.5


def test_each_piece_of_a_join_sees_all_of_its_own_progress():
    rise, fall = Linear(0.0, 1.0), Cubic(0.5, 0.0)
    joined = Join([rise, fall], [0.25])
    for p in PROGRESS:
        assert math.isclose(rise(p), joined(0.25 * p), abs_tol=1e-12) or p == 1.0
        assert math.isclose(fall(p), joined(0.25 + 0.75 * p), abs_tol=1e-12)
    assert joined(0.25) == 0.5  # the next piece's first value, not the last one's end


def test_a_join_nests_and_takes_any_callable():
    inner = Join([Constant(1.0), Constant(2.0)], [0.5])
    joined = Join([inner, math.sqrt], [0.5])
    assert [joined(p) for p in (0.0, 0.25, 0.5, 1.0)] == [1.0, 2.0, 0.0, 1.0]


def test_a_join_of_lists_equals_one_of_tuples():
    pieces, boundaries = [Constant(1.0), Constant(2.0)], [0.5]
    joined = Join(pieces, boundaries)
    assert joined == Join(tuple(pieces), tuple(boundaries)) and hash(joined)
    boundaries.append(0.9)
    assert joined.boundaries == (0.5,)


@pytest.mark.parametrize("bad", [-1e-4, math.inf, math.nan])
def test_an_impossible_strength_is_named(bad):
    with pytest.raises(ValueError, match=rf"Constant\(value={bad}\): .*≥ 0"):
        Constant(bad)
    with pytest.raises(ValueError, match=r"WarmupHoldDecay\(peak="):
        WarmupHoldDecay(bad)
    for ramp in RAMPS:
        with pytest.raises(ValueError, match=rf"{ramp.__name__}\(start="):
            ramp(bad, 1.0)
        with pytest.raises(ValueError, match=rf"{ramp.__name__}\(end="):
            ramp(1.0, bad)


@pytest.mark.parametrize(("warmup", "decay"), [(-0.1, 0.0), (0.0, -0.1), (0.7, 0.4), (math.nan, 0)])
def test_shares_that_do_not_fit_in_a_run_are_named(warmup, decay):
    with pytest.raises(ValueError, match=r"warmup=.*decay=.*shares"):
        WarmupHoldDecay(1.0, warmup, decay)


@pytest.mark.parametrize(
    ("pieces", "boundaries", "message"),
    [
        (2, [], "2 schedules need 1 boundaries"),
        (2, [0.3, 0.6], "2 schedules need 1 boundaries"),
        (0, [], "schedules"),
        (3, [0.6, 0.3], "increase"),
        (3, [0.5, 0.5], "increase"),
        (2, [0.0], "between 0 and 1"),
        (2, [1.0], "between 0 and 1"),
        (2, [math.nan], "between 0 and 1"),
    ],
)
def test_boundaries_that_do_not_fit_are_named(pieces, boundaries, message):
    with pytest.raises(ValueError, match=message):
        Join([Constant(1.0)] * pieces, boundaries)
