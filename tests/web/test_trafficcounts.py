"""What is read off the metrics, and that a restart forgets none of it."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.plumbing.metrics import Metrics
from cachew.web.traffic import BOUNDS, HOUR, KEPT, Counts
from cachew.web.trafficcounts import TrafficHistory, counted
from cachew.web.trafficfile import TrafficFile
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of
from tests.web.test_traffic import NOW, durations


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
            self.metrics.answers += 1
            self.metrics.request_seconds.labels("git info/refs").observe(0.02)
            self.metrics.response_bytes.labels("mirror").inc(0)

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


def test_nothing_is_written_within_a_minute(tmp_path: Path) -> None:
    """However often it is looked: the file is written when a minute is over, and when nothing was asked for as well."""
    file = tmp_path / "traffic.sqlite"
    kept = Kept(file)
    for _ in range(3):
        kept.ask()
        kept.sample()
        kept.clock.advance(10)
    assert not file.exists()
    kept.clock.advance(30)
    kept.sample()
    assert Kept(file, NOW + 60).requests()[-2:] == [3, 0]


def test_an_idle_server_reads_nothing(tmp_path: Path) -> None:
    """What has been counted is read when answers have ended since: a sample, or a look, costs nothing else."""
    kept = Kept(tmp_path / "traffic.sqlite")
    kept.metrics.served.labels("mirror").inc()
    kept.sample()
    assert [step.hits for step in kept.history.steps(HOUR)][-1] == 0
    kept.ask()
    assert [step.hits for step in kept.history.steps(HOUR)][-1] == 1


def test_what_is_shown_has_been_counted_just_now(tmp_path: Path) -> None:
    """Whoever looks between two samples sees what has come since."""
    kept = Kept(tmp_path / "traffic.sqlite")
    kept.sample()
    kept.ask(2)
    assert kept.requests()[-1] == 2 and kept.requests()[-1] == 2
