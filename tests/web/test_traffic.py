"""The history of the traffic, minute by minute."""

import pytest

from cachew.web.traffic import BOUNDS, DAY, HOUR, KEPT, Counts, Traffic

NOW = 1_800_000_000.0


def durations(**places: int) -> tuple[int, ...]:
    """Return so many in each place, named ``at0`` to ``at14``."""
    return tuple(places.get(f"at{place}", 0) for place in range(len(BOUNDS) + 1))


def test_what_has_grown_belongs_to_its_minute() -> None:
    """Counters that only grow become counts a minute; what was counted before the first look belongs to it."""
    traffic = Traffic()
    for minute, requests in ((0, 5), (1, 5), (2, 9), (2, 12)):
        traffic.note(NOW + 60 * minute, Counts(requests=requests))
    assert [step.requests for step in traffic.steps(NOW + 120, HOUR)][-3:] == [5, 0, 7]
    assert len(traffic.steps(NOW, HOUR)) == 60 and len(traffic.steps(NOW, DAY)) == 96
    assert sum(step.requests for step in traffic.steps(NOW + 120, DAY)) == 12


def test_a_day_is_kept_and_no_more() -> None:
    """Minutes older than a day go; so do those that lie ahead once the clock was put back."""
    traffic = Traffic()
    for minute in range(KEPT + 500):
        traffic.note(NOW + 60 * minute, Counts(requests=minute + 1))
    end = NOW + 60 * (KEPT + 499)
    assert sum(step.requests for step in traffic.steps(end, DAY)) in range(24 * 60 - 15, 24 * 60 + 1)
    assert len(traffic.unsaved()) == KEPT
    traffic.note(NOW, Counts(requests=KEPT + 600))
    assert [step.requests for step in traffic.steps(end, HOUR)] == [0] * 60


def test_percentiles_come_from_the_buckets() -> None:
    """Between two bounds they are interpolated; what took longer than the last bound counts as that."""
    assert Counts().percentile(0.5) is None
    counts = Counts(durations=durations(at0=50, at4=50))
    assert counts.percentile(0.5) == pytest.approx(0.005)
    assert counts.percentile(0.95) == pytest.approx(0.05 + 0.05 * 0.9)
    assert Counts(durations=durations(at14=1)).percentile(0.5) == 60.0
