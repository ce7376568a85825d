"""Where a thread stands that stands still."""

import threading
from typing import Any

from cachew.plumbing.clock import machine_clock
from cachew.plumbing.stalls import StallWatch, where
from tests.fakes.clock import FakeClock


class Watched:
    """A watch at a test's own time, and what it has told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[tuple[float, str]] = []
        self.watch = StallWatch(
            longest=1.0, tell=lambda seconds, place: self.told.append((seconds, place)), clock=self.clock
        )
        self.watch.watch_this_thread()

    def pass_by(self, seconds: float, *, beating: bool) -> None:
        """Let time pass in which the other thread looks as often as it should."""
        for _ in range(round(seconds / self.watch.pause)):
            self.clock.advance(self.watch.pause)
            if beating:
                self.watch.beat()
            self.watch.look()


def test_one_that_goes_on_is_not_told_of() -> None:
    """As long as it beats there is nothing to say."""
    watched = Watched()
    watched.pass_by(60, beating=True)
    assert not watched.told


def test_a_standstill_is_told_once_with_where_it_is() -> None:
    """After the longest that it may last, whatever longer it lasts; the next one is told again."""
    watched = Watched()
    watched.pass_by(1.25, beating=False)
    assert not watched.told
    watched.pass_by(60, beating=False)
    ((seconds, place),) = watched.told
    assert 1.25 < seconds <= 1.5
    assert "test_a_standstill_is_told_once_with_where_it_is" in place and "\n" not in place
    watched.pass_by(1, beating=True)
    watched.pass_by(2, beating=False)
    assert len(watched.told) == 2


def test_one_that_goes_on_is_looked_at_once_in_the_longest_standstill() -> None:
    """The other thread sleeps while there can be nothing to tell; a standstill is told of no later for that."""
    watched = Watched()
    watch, clock, looks = watched.watch, watched.clock, list[float]()
    for part in range(4 * 60):
        if clock.seconds() >= (looks or [0.0])[-1] + watch.until_next_look():
            looks.append(clock.seconds())
            watch.look()
        clock.advance(0.25)
        if part < 4 * 50 + 3:
            watch.beat()
    assert len([at for at in looks if at < 50]) <= 52
    ((seconds, _),) = watched.told
    assert 1.25 < seconds <= 1.5


def test_a_process_that_was_stopped_accuses_nobody() -> None:
    """When the other thread was not run either, nothing is known of the first one."""
    watched = Watched()
    watched.clock.advance(3600)
    watched.watch.look()
    watched.watch.beat()
    watched.pass_by(1, beating=True)
    assert not watched.told


def test_it_looks_in_a_thread_of_its_own() -> None:
    """Whoever starts it and then waits is told of by the other thread, which ends with the watch."""
    told, seen = list[str](), threading.Event()

    def tell(seconds: float, place: str) -> None:
        told.append(place)
        seen.set()

    watch = StallWatch(longest=0.4, tell=tell, clock=machine_clock())
    watch.start()
    assert seen.wait(30)
    watch.stop()
    assert "seen.wait" not in told[0] and "threading.py" in told[0]
    assert not any(thread.name == "cachew-stalls" for thread in threading.enumerate())


def test_a_thread_that_is_gone_stands_nowhere() -> None:
    """Without a frame there is no place."""
    nobody: Any = None
    assert where(nobody) == "nowhere"
