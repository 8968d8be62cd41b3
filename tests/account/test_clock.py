"""Jira's clock: told by refusals and by `Date`, and not misled by caches and gateways."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.account.clock import ACCEPTED, TOLERANCE, JiraClock
from sidecar.http.fields import Fields
from sidecar.jira.problems import Problem

START = 1_800_000_000.0


class World:
    """Our clock, Jira's, and that of whoever sets `Date`; offsets are in seconds."""

    def __init__(self, jira: float = 0.0, proxy: float = 0.0) -> None:
        self.time = START
        self.jira = jira
        self.proxy = proxy
        self.clock = JiraClock(lambda: self.time)

    def date(self, *more: tuple[bytes, bytes]) -> Fields:
        value = formatdate(self.time + self.jira + self.proxy, usegmt=True)
        return [(b"Date", value.encode()), *more]

    def accepts(self) -> bool:
        """Whether Jira takes a timestamp made now."""
        now = int(self.time + self.jira)
        return now - ACCEPTED <= int(self.clock.now()) <= now + ACCEPTED

    def refusal(self) -> Problem:
        now = int(self.time + self.jira)
        span = f"{now - 300}-{now + 300}"
        return Problem("timestamp_refused", {"oauth_acceptable_timestamps": span})

    def request(self, *, date: Fields | None = None, waited: float = 0.01) -> int:
        """Send until it is accepted; how many times it was refused."""
        refused = 0
        while not self.accepts():
            assert self.clock.correct(self.refusal(), self.date() if date is None else date)
            refused += 1
        fields = self.date() if date is None else date
        self.clock.watch(fields, self.clock.correction, waited)
        return refused


def test_nothing_is_known_and_nothing_corrected_at_first() -> None:
    world = World()
    assert world.clock.difference is None
    assert world.clock.now() == START


def test_a_small_difference_is_told_but_not_corrected() -> None:
    world = World(jira=20)
    world.request()
    assert world.clock.difference == pytest.approx(20, abs=1)
    assert world.clock.now() == START


def test_a_difference_that_grows_is_corrected_before_jira_minds() -> None:
    world = World(jira=100)
    assert world.request() == 0
    assert world.clock.now() == pytest.approx(START + 100, abs=1)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_a_refusal_tells_the_time(offset: float) -> None:
    world = World(jira=offset)
    assert world.request() == 1
    assert world.clock.difference == pytest.approx(offset, abs=1)
    assert world.request() == 0


def test_a_refusal_without_timestamps_tells_it_by_its_date() -> None:
    world = World(jira=7200)
    assert world.clock.correct(Problem("timestamp_refused"), world.date())
    assert world.accepts()


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Date", b"yesterday")],
        [(b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"), (b"Age", b"3")],
    ],
)
def test_a_refusal_that_tells_no_time_teaches_nothing(fields: Fields) -> None:
    clock = JiraClock(lambda: START)
    assert not clock.correct(Problem("timestamp_refused"), fields)
    clock.watch(fields, 0.0, 0.0)
    assert (clock.difference, clock.correction) == (None, 0.0)


def test_a_correction_is_taken_back_when_the_clocks_agree_again() -> None:
    world = World(jira=200)
    world.request()
    world.jira = 0
    world.request()
    assert world.clock.now() == START


@pytest.mark.parametrize("proxy", [-86400.0, -1000.0, 1000.0, 86400.0])
@pytest.mark.parametrize("jira", [-600.0, 0.0, 600.0])
def test_the_date_of_a_proxy_with_a_clock_of_its_own_misleads_nobody(
    jira: float, proxy: float
) -> None:
    world = World(jira=jira, proxy=proxy)
    assert world.request() == (1 if jira else 0)
    for _ in range(5):
        world.time += 60
        assert world.request() == 0
    assert world.clock.correction == pytest.approx(jira, abs=1)


@pytest.mark.parametrize("proxy", [-250.0, 250.0])
def test_what_a_refusal_tells_counts_more_than_a_date_that_differs(proxy: float) -> None:
    world = World(jira=600, proxy=proxy)
    for _ in range(3):
        world.request()
    assert world.clock.correction == pytest.approx(600, abs=1)


def test_a_drift_is_followed_by_the_date_of_a_proxy_that_is_wrong() -> None:
    world = World(jira=600, proxy=-5000)
    world.request()
    for _ in range(60):
        world.jira += 40
        assert world.request() == 0


def test_a_drift_is_followed_by_a_wrong_date_that_no_refusal_has_explained() -> None:
    world = World(proxy=-5000)
    world.request()
    world.jira = 100
    world.request()
    assert world.clock.difference == pytest.approx(100, abs=1)
    assert world.clock.correction == pytest.approx(100, abs=1)


def test_a_proxys_clock_that_was_put_right_is_believed_again() -> None:
    world = World(proxy=-5000)
    world.request()
    world.proxy, world.jira = 0, 100
    for _ in range(2):
        world.request()
    assert world.clock.correction == pytest.approx(100, abs=1)


@pytest.mark.parametrize("age", [[(b"Age", b"86400")], []])
def test_an_old_answer_from_a_cache_is_not_believed(age: Fields) -> None:
    world = World()
    world.request()
    old = [(b"Date", formatdate(START - 86400, usegmt=True).encode()), *age]
    for _ in range(3):
        assert world.request(date=old) == 0
        assert world.clock.correction == 0
        assert world.request() == 0
    world.jira = 100
    world.request()
    assert world.request() == 0
    assert world.clock.correction == pytest.approx(100, abs=1)


def test_an_answer_that_took_long_says_nothing_about_now() -> None:
    world = World(jira=100)
    world.request(waited=TOLERANCE + 1)
    assert world.clock.difference is None


@pytest.mark.parametrize(
    ("jira", "corrected"), [(29, 0.0), (30, 30.5), (-30, 0.0), (-31, -30.5), (299, 299.5)]
)
def test_half_a_minute_is_tolerated_and_more_is_corrected(jira: float, corrected: float) -> None:
    """`Date` has whole seconds; half a second is added."""
    world = World(jira=jira)
    world.clock.watch(world.date(), 0.0, 0.01)
    assert world.clock.difference == jira + 0.5
    assert world.clock.correction == corrected


@pytest.mark.parametrize(
    ("before", "difference", "after"),
    [
        (0.0, 300.0, 300.0),
        (0.0, 30.0, 0.0),
        (100.0, 130.0, 100.0),
        (100.0, 131.0, 131.0),
        (100.0, 30.0, 0.0),
        (100.0, 31.0, 31.0),
        (-100.0, -130.0, -100.0),
    ],
)
def test_what_is_tolerated_is_so_to_the_last_second(
    before: float, difference: float, after: float
) -> None:
    clock = JiraClock(lambda: START + 0.5)
    clock.believe(before)
    clock.watch(dated(difference), before, 0.0)
    assert (clock.difference, clock.correction) == (difference, after)


def dated(difference: float) -> Fields:
    """A Date that tells just this difference to a clock that shows half a second."""
    return [(b"Date", formatdate(START + difference, usegmt=True).encode())]


def refused(difference: float) -> Problem:
    middle = int(START + difference)
    span = f"{middle - 300}-{middle + 300}"
    return Problem("timestamp_refused", {"oauth_acceptable_timestamps": span})


def test_a_refusal_with_timestamps_and_no_date_leaves_later_dates_as_they_are() -> None:
    clock = JiraClock(lambda: START + 0.5)
    assert clock.correct(refused(1000), [])
    assert clock.difference == 999.5
    clock.watch(dated(1010), clock.correction, 0.0)
    assert clock.difference == 1010


def test_a_refusal_by_its_date_alone_leaves_later_dates_as_they_are() -> None:
    clock = JiraClock(lambda: START + 0.5)
    assert clock.correct(refused(1000), dated(5000))
    assert clock.correct(Problem("timestamp_refused"), dated(2000))
    assert clock.difference == 1999.5
    clock.watch(dated(2010), clock.correction, 0.0)
    assert clock.difference == 2010


def test_a_proxys_clock_that_is_just_within_five_minutes_is_believed_again() -> None:
    clock = JiraClock(lambda: START + 0.5)
    assert clock.correct(refused(0), dated(-5000))
    clock.believe(0.0)
    clock.watch(dated(300), 0.0, 0.0)
    assert clock.difference == 0, "it differs from what the refusal has told"
    clock.watch(dated(300), 0.0, 0.0)
    assert clock.difference == 300


@pytest.mark.parametrize("proxy", [300, -301])
def test_a_date_that_jira_could_not_have_accepted_a_request_at_is_not_its_own(proxy: float) -> None:
    world = World(proxy=proxy)
    world.clock.watch(world.date(), 0.0, 0.01)
    assert (world.clock.difference, world.clock.correction) == (None, 0.0)


@pytest.mark.parametrize(("waited", "difference"), [(30.0, 100.5), (30.1, None)])
def test_an_answer_tells_the_time_if_it_took_no_more_than_half_a_minute(
    waited: float, difference: float | None
) -> None:
    world = World(jira=100)
    world.clock.watch(world.date(), 0.0, waited)
    assert world.clock.difference == difference


@pytest.mark.parametrize(("difference", "wrong"), [(300, False), (301, True), (-301, True)])
def test_a_time_is_wrong_that_is_more_than_five_minutes_off(difference: float, wrong: bool) -> None:
    clock = JiraClock(lambda: START)
    assert not clock.was_wrong_throughout(0.0)
    clock.believe(difference)
    assert clock.was_wrong_throughout(0.0) == wrong
    assert not clock.was_wrong_throughout(difference)


def test_an_answer_to_a_request_from_before_a_correction_changes_nothing() -> None:
    world = World(jira=100)
    late = world.date()
    world.jira = 7200
    world.request()
    world.clock.watch(late, 0.0, 0.0)
    assert world.accepts()
    assert world.clock.correction == pytest.approx(7200, abs=1)


@given(
    st.lists(
        st.tuples(
            st.floats(-7200, 7200),
            st.sampled_from([0.0, 0.0, -86400.0, 3600.0, 250.0]),
            st.floats(0, 600),
        ),
        max_size=20,
    )
)
def test_whatever_the_clocks_do_one_refusal_is_all_it_costs(
    steps: list[tuple[float, float, float]],
) -> None:
    world = World()
    for world.jira, world.proxy, seconds in steps:
        world.time += seconds
        assert world.request() <= 1  # request() goes on until it is accepted


@given(st.floats(-29, 29), st.integers(1, 200))
def test_drift_within_tolerance_of_each_other_is_never_refused(drift: float, steps: int) -> None:
    world = World()
    for _ in range(steps):
        assert world.request() == 0
        world.jira += drift
