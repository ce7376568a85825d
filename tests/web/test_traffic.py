"""The history of the traffic, minute by minute."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.plumbing.metrics import Metrics
from cachew.web import charts
from cachew.web.traffic import BOUNDS, DAY, HOUR, KEPT, Counts, Traffic
from cachew.web.trafficcharts import view
from cachew.web.trafficcounts import TrafficHistory, counted
from cachew.web.trafficfile import TrafficFile
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of

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


def test_it_counts_what_clients_read() -> None:
    """Git requests, bytes by where they came from and durations are read off the metrics; pushes and pages are not."""
    metrics = Metrics()
    assert tuple(float(bound) for bound in metrics.request_seconds._kwargs["buckets"]) == BOUNDS
    metrics.served.labels("mirror").inc(3)
    metrics.served.labels("upstream").inc()
    for source, size in (("packcache", 1000), ("made", 20), ("upstream", 7), ("admin", 5)):
        metrics.response_bytes.labels(source).inc(size)
    for route, seconds in (("git info/refs", 0.004), ("git lfs", 99.0), ("git git-receive-pack", 1.0), ("admin", 1.0)):
        metrics.request_seconds.labels(route).observe(seconds)
    found = counted(metrics)
    assert (found.requests, found.hits, found.misses, found.cached, found.relayed) == (2, 3, 1, 1020, 7)
    assert found.durations == durations(at0=1, at14=1)
    assert found.hit_rate == 0.75 and Counts().hit_rate is None


class Kept:
    """A history in a file."""

    def __init__(self, path: Path, now: float = NOW) -> None:
        self.metrics, self.clock = Metrics(), FakeClock(now)
        file = TrafficFile(
            database=DisposableDatabase(path=path, threads=cast(Any, InlineThreads()), what="the traffic")
        )
        self.history = TrafficHistory(metrics=self.metrics, file=file, clock=self.clock)
        value_of(Deferred.fromCoroutine(self.history.load()))

    def ask(self, count: int = 1) -> None:
        """Answer requests."""
        for _ in range(count):
            self.metrics.request_seconds.labels("git info/refs").observe(0.02)

    def sample(self) -> None:
        value_of(Deferred.fromCoroutine(self.history.sample()))

    def save(self) -> None:
        value_of(Deferred.fromCoroutine(self.history.save()))

    def requests(self) -> list[int]:
        return [step.requests for step in self.history.steps(HOUR)]


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Each minute is written down when it is over, the last one at the end; the next run goes on in it."""
    file = tmp_path / "traffic.sqlite"
    first = Kept(file)
    first.ask(3)
    first.sample()
    first.clock.advance(60)
    first.ask(2)
    first.sample()
    first.save()
    second = Kept(file, NOW + 60)
    second.ask(4)
    second.save()
    assert Kept(file, NOW + 120).requests()[-3:] == [3, 6, 0]
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM minutes").fetchone() == (2,)


def test_the_file_does_not_grow(tmp_path: Path) -> None:
    """What is older than a day is deleted when something is written."""
    file = tmp_path / "traffic.sqlite"
    kept = Kept(file)
    for _ in range(3):
        kept.ask()
        kept.save()
        kept.clock.advance(60 * (KEPT - 1))
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM minutes").fetchone() == (2,)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 200])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """Whatever lies there, the server starts, and keeps its traffic from then on."""
    file = tmp_path / "traffic.sqlite"
    file.write_bytes(content)
    kept = Kept(file)
    kept.ask()
    kept.save()
    assert Kept(file).requests()[-1] == 1


def test_a_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    """A minute that can't be written down is told in the log; the history in memory goes on."""
    kept = Kept(tmp_path / "nowhere" / "traffic.sqlite")
    kept.ask()
    kept.save()
    assert kept.requests()[-1] == 1


def test_charts_have_round_axes() -> None:
    """The top of an axis is a round number no less than the greatest value, and something where there is nothing."""
    assert [charts.nice(top) for top in (0, 1, 3, 41, 99, 0.3)] == [1.0, 1.0, 4.0, 50.0, 100.0, pytest.approx(0.4)]
    steps = [Counts(requests=3, cached=900, relayed=100, durations=durations(at1=3)), *[Counts()] * 59]
    requests, sent, times = view(HOUR, steps).charts
    assert list(requests.scale) == ["4", "2", "0"] and requests.bars == [(0, "M0 100v-75h8v75z")]
    assert [outline for _, outline in sent.bars] == ["M0 100v-90h8v90z", "M0 10v-10h8v10z"]
    assert [series for series, _ in times.lines] == [0, 1] and times.summary.startswith("95 of 100 requests within")
    assert HOUR.ticks == ["60 min ago", "45", "30", "15", "now"] and DAY.ticks[0] == "24 h ago"
