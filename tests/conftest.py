"""What every test gets: a check that it leaves nothing behind, and a way to expect logged failures."""

import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import greenlet
import pytest
import pytest_twisted
from hypothesis import settings
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, globalLogPublisher

from tests.cleanliness import GRACE, FlushLoggedErrors, Watch

pytest_plugins = ["pytester"]

# How long one example takes says more about the machine than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

RING_AGAIN = 5.0
"""Seconds after which a test that has swallowed the end of its time is told again."""


def pytest_collection_finish() -> None:
    """Move all that was imported out of the collector's sight: the check collects garbage after every test.

    Until somebody begins to log, Twisted keeps the last events with all that their failures refer to.
    """
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    gc.collect()
    gc.freeze()


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Bound a test's time.

    An exception raised while the reactor waits would be logged by the reactor, which would then wait on for ever: what
    the test waits for is cancelled instead.
    """
    test = greenlet.getcurrent()

    def ring(number: int, frame: FrameType | None) -> None:
        message = f"the test took longer than {settings.timeout} s"
        waits = frame is not None and frame.f_code.co_filename.endswith("reactor.py")
        if waits and greenlet.getcurrent() is not test and test.gr_frame is not None:
            print(message, file=sys.stderr)
            test.gr_frame.f_locals["d"].cancel()  # a local of pytest_twisted.blockon_default
        else:
            pytest.fail(message)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout or 0, RING_AGAIN)
    return True


def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """The test has ended in time."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return True


@pytest.fixture(autouse=True, scope="session")
def reactor_runs() -> None:
    """Start the reactor before the first test: the descriptors that it opens for itself are nobody's leak."""
    from twisted.internet import reactor

    running: Deferred[None] = Deferred()
    reactor.callWhenRunning(running.callback, None)
    run_reactor_until(running)


@pytest.fixture(scope="session")
def grace() -> Sequence[float]:
    """The pauses, in seconds, in which what a test has left may still end by itself."""
    return GRACE


@pytest.fixture(autouse=True)
def leaves_nothing_behind(reactor_runs: None, grace: Sequence[float]) -> Iterator[Watch]:
    """Fail a test that leaves a timer, a socket, a child process or an unexpected logged failure behind."""
    from twisted.internet import reactor  # pytest-twisted has installed the reactor only by now

    watch = Watch(reactor=reactor, publisher=globalLogPublisher)
    watch.begin()
    yield watch
    watch.settle(run_reactor_until, grace)
    left = watch.end()
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def flush_logged_errors(leaves_nothing_behind: Watch) -> FlushLoggedErrors:
    """Return a function that takes the failures logged so far, ``flush(*types)``, so that they don't fail the test."""
    return leaves_nothing_behind.failures.flush


def run_reactor_until(deferred: Deferred[None]) -> None:
    """Run the reactor until a Deferred has fired."""
    pytest_twisted.blockon(deferred)
