"""A lock that many hold together, or one alone."""

from contextlib import AbstractAsyncContextManager

from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.sharedlock import SharedLock


class Holder:
    """Holds a lock until it is told to end."""

    def __init__(self, lock: AbstractAsyncContextManager[None]) -> None:
        self.end: Deferred[None] = Deferred()
        self.holds = False
        self.done = Deferred.fromCoroutine(self._hold(lock))
        self.done.addErrback(lambda failure: failure.trap(CancelledError))

    async def _hold(self, lock: AbstractAsyncContextManager[None]) -> None:
        async with lock:
            self.holds = True
            await self.end


def test_many_together_or_one_alone() -> None:
    """Who wants it alone waits for all who hold it, and whoever comes later waits for him."""
    lock = SharedLock()
    first, second = Holder(lock.together()), Holder(lock.together())
    alone, late = Holder(lock.alone()), Holder(lock.together())
    assert (first.holds, second.holds, alone.holds, late.holds) == (True, True, False, False)
    first.end.callback(None)
    assert not alone.holds
    second.end.callback(None)
    assert alone.holds and not late.holds
    alone.end.callback(None)
    assert late.holds
    late.done.cancel()
    last = Holder(lock.alone())
    assert last.holds
    last.end.callback(None)


def test_whoever_gives_up_is_waited_for_no_more() -> None:
    """A wait for holding it alone that is cancelled keeps nobody."""
    lock = SharedLock()
    first, alone, late = Holder(lock.together()), Holder(lock.alone()), Holder(lock.together())
    alone.done.cancel()
    assert late.holds and not alone.holds
    for holder in (first, late):
        holder.end.callback(None)
    last = Holder(lock.alone())
    assert last.holds
    last.end.callback(None)
