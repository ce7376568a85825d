"""A thread pool and a time of day for the caches under test."""

from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.threadpool import ThreadPool

from cachew.plumbing.threads import Threads
from tests.fakes import objectservers
from tests.fakes.clock import FakeClock


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Run blocking work in a pool of its own."""
    from twisted.internet import reactor  # pytest-twisted has installed it only by now

    pool = ThreadPool(minthreads=0, maxthreads=8)
    pool.start()
    yield Threads(reactor=cast(IReactorFromThreads, reactor), pool=pool)
    pool.stop()


@pytest.fixture
def clock() -> FakeClock:
    """Return the time of day."""
    return FakeClock(now=1_700_000_000.0)


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[str]:
    """Give the URL of a SeaweedFS."""
    with objectservers.seaweedfs() as url:
        yield url


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Give the URL of a moto server."""
    with objectservers.moto() as url:
        yield url
