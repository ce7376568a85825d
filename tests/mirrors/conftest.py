"""Mirrors without git, and what runs git for tests of repositories on disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.python.threadpool import ThreadPool

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from tests.fakes.mirrorgit import MirrorHouse, git_settings
from tests.fakes.settled import value_of


@pytest.fixture
def house(tmp_path: Path) -> MirrorHouse:
    """A house without mirrors."""
    return MirrorHouse(tmp_path / "mirrors")


@pytest.fixture
def mirror(house: MirrorHouse) -> Mirror:
    """A mirror that is ready."""
    return value_of(house.made())


@pytest_twisted.async_yield_fixture
async def runner(tmp_path: Path) -> AsyncIterator[GitRunner]:
    """Runs git for real."""
    from twisted.internet import reactor

    pool = ThreadPool(0, 2)
    pool.start()
    processes = Processes(reactor=reactor)
    threads = Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
    yield GitRunner(processes=processes, commands=git_settings(tmp_path), threads=threads)
    await processes.stop()
    pool.stop()
