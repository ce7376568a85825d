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
    """A pool for calls that may hang, as those to stores and disks: at the end of the process nobody waits for them.

    :param patience: seconds in which they may still end.
    """

    threadFactory = _Daemon

    def __init__(self, minthreads: int, maxthreads: int, name: str, *, patience: float = 0.0) -> None:
        super().__init__(minthreads, maxthreads, name)
        self._patience = patience

    def stop(self) -> None:
        """Take no more work; threads that are still busy after the patience end by themselves."""
        threads, patience = list(self.threads), self._patience
        self.threads.clear()
        super().stop()
        for thread in threads:
            thread.join(patience)
            if thread.is_alive():
                patience = 0.0


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
