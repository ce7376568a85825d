"""How late the reactor is, and why."""

import os
import time

import pytest

from cachew.plumbing.lag import LagWatch, ProcessorWait
from tests.fakes.clock import FakeClock


def busy() -> None:
    """Do something for some milliseconds."""
    until = time.thread_time() + 0.004
    while time.thread_time() < until:
        pass


def test_an_idle_reactor_is_left_alone() -> None:
    """Where nothing goes on it is called ever more seldom, and fifty times a second as soon as something does."""
    clock, lags = FakeClock(), list[float]()
    watch = LagWatch(reactor=clock, observe=lambda waited, own: lags.append(waited + own))
    watch.start()
    clock.pump([0.01] * 1000)
    assert len(lags) < 60
    busy()
    clock.advance(0.32)
    before = len(lags)
    for _ in range(10):
        busy()
        clock.advance(0.02)
    assert len(lags) == before + 10
    watch.stop()


def test_lag() -> None:
    """Every turn tells how long it has been due."""
    clock, lags = FakeClock(), list[float]()
    watch = LagWatch(reactor=clock, observe=lambda waited, own: lags.append(waited + own))
    watch.start()
    for passed in (0.02, 0.023, 0.001, 0.11):
        busy()
        clock.advance(passed)
    watch.stop()
    clock.advance(1)
    assert lags == pytest.approx([0, 0.003, 0.091])
    assert not clock.getDelayedCalls()


def test_waiting_for_a_processor_is_told_apart() -> None:
    """What the thread has waited for a processor is at most the whole lag; what it has not waited is its own."""
    clock, told = FakeClock(), list[tuple[float, float]]()
    watch = LagWatch(reactor=clock, observe=lambda waited, own: told.append((waited, own)))
    watch.start()
    clock.advance(3600)
    watch.stop()
    ((waited, own),) = told
    assert 0 <= waited < own
    assert waited + own == pytest.approx(3599.98)


def test_a_thread_that_has_to_wait_is_seen() -> None:
    """On one processor two busy threads take turns, and each waits while it is the other's."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    child = os.fork()
    if not child:
        while True:
            pass
    try:
        processor = ProcessorWait()
        limit = time.monotonic() + 30
        while processor.times()[1] < 0.001 and time.monotonic() < limit:
            pass
        assert processor.times()[1] >= 0.001
        processor.close()
    finally:
        os.sched_setaffinity(0, processors)
        os.kill(child, 9)
        os.waitpid(child, 0)
