"""Thread pools that outlive no server."""

import errno
import threading
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.plumbing.resolver import Resolver
from cachew.plumbing.threads import PatientPool, Threads
from tests.fakes.settled import failure_of
from tests.plumbing.test_resolver import Asker


class Unstartable(threading.Thread):
    """A thread on a machine that has none left."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


class Exhausted(PatientPool):
    """A pool on such a machine."""

    threadFactory: Any = Unstartable


def test_a_call_that_hangs_keeps_no_pool() -> None:
    """A pool ends though a call to a hung disk doesn't, and waits for those that end in time."""
    pool = PatientPool(0, 2, "test", patience=0.1)
    pool.start()
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(20)
        ended.set()

    pool.callInThread(hang)
    assert begun.wait(20)
    pool.stop()
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(20)


def test_a_call_that_ends_is_waited_for() -> None:
    """What is nearly done is not cut off."""
    pool = PatientPool(0, 1, "test", patience=20)
    pool.start()
    ended, go_on = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        ended.set()

    pool.callInThread(work)
    threading.Timer(0.05, go_on.set).start()
    pool.stop()
    assert ended.is_set()


def test_without_a_thread_left_the_system_has_failed() -> None:
    """What should have run in a thread fails as a disk would, a name is not found, and the pool ends all the same."""
    pool = Exhausted(0, 2, "test")
    pool.start()
    threads = Threads(reactor=cast(Any, None), pool=pool)
    failure = failure_of(Deferred.fromCoroutine(threads(threading.get_ident)))
    assert isinstance(failure, OSError) and failure.errno == errno.EAGAIN
    asker = Asker()
    Resolver(reactor=cast(Any, HasPool(pool))).resolveHostName(asker, "git.example")
    assert asker.complete.called and asker.found == []
    pool.stop()


class HasPool:
    """A reactor with a pool."""

    def __init__(self, pool: PatientPool) -> None:
        self.getThreadPool = lambda: pool
