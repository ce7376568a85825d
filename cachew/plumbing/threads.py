"""Blocking work in a bounded thread pool that is handed in."""

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class _Daemon(threading.Thread):
    """A thread that keeps no process alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


class PatientPool(ThreadPool):
    """A pool for calls that may hang: at the end of the process nobody waits for those that still do."""

    threadFactory = _Daemon

    def stop(self) -> None:
        """Take no more work; the threads end by themselves."""
        self.threads.clear()
        super().stop()


class Threads:
    """Runs functions in a thread pool and awaits their results.

    :param reactor: whose thread the results come back to.
    :param pool: where the functions run; its owner starts and stops it.
    """

    def __init__(self, *, reactor: IReactorFromThreads, pool: ThreadPool) -> None:
        self._reactor: Any = reactor
        self._pool = pool

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(*args, **kwargs)`` in a thread; its exception is raised here."""
        return await deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)
