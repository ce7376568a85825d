"""What every test gets: a check that it leaves nothing behind, and a way to expect logged failures."""

import gc
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.cleanliness import FlushLoggedErrors, Watch

pytest_plugins = ["pytester"]


def pytest_collection_finish() -> None:
    """Move all that was imported out of the collector's sight: the check collects garbage after every test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[Watch]:
    """Fail a test that leaves a timer, a socket, a child process or an unexpected logged failure behind."""
    from twisted.internet import reactor  # pytest-twisted has installed the reactor only by now

    watch = Watch(reactor=reactor, publisher=globalLogPublisher)
    watch.begin()
    yield watch
    watch.settle(run_reactor_until)
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
