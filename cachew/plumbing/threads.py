"""Blocking work in a bounded thread pool that is handed in."""

import errno
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


InThread = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a function in a thread and gives its result, as :class:`Threads` do."""


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
        # One that could not be started is among them.
        threads, patience = [thread for thread in self.threads if thread.ident is not None], self._patience
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
        """Run ``function(*args, **kwargs)`` in a thread; its exception is raised here.

        :raise OSError: when the system has no thread left.
        """
        run = partial(copy_context().run, function, *args, **kwargs)
        return await in_pool(self._reactor, self._pool, run)


def in_pool(reactor: Any, pool: ThreadPool, run: Callable[[], T]) -> Deferred[T]:
    """Run something in a thread of a pool; that the system has none left is a failure of the system, told as such."""
    try:
        return deferToThreadPool(reactor, pool, run)
    except RuntimeError as error:
        return fail(OSError(errno.EAGAIN, f"no thread is to be had: {error}"))


async def made_in_thread(
    in_thread: Callable[..., Awaitable[Any]], make: Callable[[], T], *, give_up: Callable[[T], object]
) -> T:
    """Make in a thread what has to be let go of again: a file, a directory.

    A cancelled call goes on in its thread. What it makes there for nobody is given up as soon as it is there.

    :param in_thread: runs it.
    :param give_up: lets go of what was made; called in whatever thread notices first that nobody wants it.
    """
    claim = _Claim(give_up)
    try:
        made: T = await in_thread(claim.make, make)
    except BaseException:
        claim.renounce()
        raise
    return made


class _Claim(Generic[T]):
    """Somebody's claim to what a thread makes for him."""

    def __init__(self, give_up: Callable[[T], object]) -> None:
        self._give_up = give_up
        self._lock = threading.Lock()
        self._made: list[T] = []
        self._renounced = False

    def make(self, make: Callable[[], T]) -> T:
        """Make it, in a thread."""
        if self._renounced:
            raise CancelledError()
        made = make()
        with self._lock:
            self._made.append(made)
            wanted = not self._renounced
        if not wanted:
            self._let_go()
        return made

    def renounce(self) -> None:
        """Nobody wants it any more."""
        with self._lock:
            self._renounced = True
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            made, self._made = self._made, []
        for one in made:
            self._give_up(one)
