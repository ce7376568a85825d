"""Work that many ask for and one does.

A hundred clients that want the same thing at once cost one piece of work; each of them may go away alone.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

K = TypeVar("K")
V = TypeVar("V")


class _Run(Generic[V]):
    def __init__(self) -> None:
        self.waiters: list[Deferred[V]] = []
        self.work: Deferred[V] | None = None


class Shared(Generic[K, V]):
    """Runs at most one piece of work per key and hands its result to all who asked meanwhile.

    :param keep: whether work goes on when nobody waits for it any more; otherwise it is cancelled.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._runs: dict[K, _Run[V]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._runs

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Join the work under way for ``key``, or start it.

        :param work: makes the coroutine; called only when none is under way.
        :return: its result.
        :raise Exception: its failure, the same for all who joined.
        """
        run = self._runs.get(key)
        waiter: Deferred[V]
        if run is not None:
            waiter = self._join(key, run)
            return await waiter
        run = self._runs[key] = _Run()
        waiter = self._join(key, run)
        run.work = Deferred.fromCoroutine(work())
        run.work.addBoth(self._done, key, run)
        return await waiter

    def _join(self, key: K, run: _Run[V]) -> Deferred[V]:
        waiter: Deferred[V] = Deferred(lambda gone: self._leave(key, run, gone))
        run.waiters.append(waiter)
        return waiter

    def _leave(self, key: K, run: _Run[V], waiter: Deferred[V]) -> None:
        if waiter in run.waiters:
            run.waiters.remove(waiter)
        if not run.waiters and not self._keep and run.work is not None:
            if self._runs.get(key) is run:
                del self._runs[key]
            run.work.cancel()

    def _done(self, result: V | Failure, key: K, run: _Run[V]) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
        waiters, run.waiters = run.waiters, []
        for waiter in waiters:
            if waiter.called:
                continue  # those who had their turn before have made it leave
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    def cancel_all(self) -> None:
        """Cancel everything under way; the waiters get :class:`CancelledError`."""
        for key, run in list(self._runs.items()):
            self._runs.pop(key, None)
            if run.work is not None:
                run.work.cancel()

    async def stop(self) -> None:
        """Cancel everything under way and wait for its end."""
        under_way = [run.work for run in self._runs.values() if run.work is not None]
        self.cancel_all()
        await DeferredList(under_way)


async def first_of(*works: Deferred[Any]) -> None:
    """Wait until one of several has ended, well or badly; all are cancelled then, and when the wait is."""
    first: Deferred[None] = Deferred()

    def ended(_: object) -> None:
        if not first.called:
            first.callback(None)

    for work in works:
        work.addBoth(ended)
    try:
        await first
    finally:
        for work in works:
            work.cancel()
