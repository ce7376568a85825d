"""The file of the traffic: one row a minute, of the last day."""

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.web.traffic import KEPT, Counts
from cachew.web.trafficfile import TrafficFile
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of
from tests.web.test_traffic import durations


def file_in(directory: Path) -> TrafficFile:
    """Open it."""
    threads = cast(Any, InlineThreads())
    return TrafficFile(
        database=DisposableDatabase(path=directory / "traffic.sqlite", threads=threads, what="the traffic")
    )


def written(file: TrafficFile, *minutes: tuple[int, Counts]) -> dict[int, Counts]:
    """Write minutes down, and return what is known then."""
    value_of(Deferred.fromCoroutine(file.write(minutes)))
    return dict(value_of(Deferred.fromCoroutine(file.read())))


def test_what_was_counted_comes_back(tmp_path: Path) -> None:
    """All of it; a minute that is written again is replaced, and nothing is written of none."""
    whole = Counts(requests=6, hits=3, misses=2, cached=2**40, relayed=7, durations=durations(at0=1, at14=5))
    file = file_in(tmp_path)
    assert written(file) == {} and not list(tmp_path.iterdir())
    assert written(file, (10, Counts(requests=1)), (11, whole)) == {10: Counts(requests=1), 11: whole}
    assert written(file_in(tmp_path), (11, Counts())) == {10: Counts(requests=1), 11: Counts()}


def test_a_day_is_kept(tmp_path: Path) -> None:
    """What is older goes, and what lies ahead since the clock was put back."""
    file = file_in(tmp_path)
    one = Counts(requests=1)
    written(file, (1, one), (2, one))
    assert list(written(file, (KEPT + 1, one))) == [KEPT + 1, 2]
    assert list(written(file, (5, one))) == [5, 2]
