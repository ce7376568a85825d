"""Waiting for something no longer than one is willing to, whatever it does when it is given up."""

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure


async def ended_within(reactor: IReactorTime, seconds: float, work: Awaitable[object]) -> bool:
    """Wait for the end of some work, and cancel it when that takes too long or the wait itself is cancelled.

    ``addTimeout`` waits on for what the cancelled work still has to do, which may in its turn take for ever; this does
    not, and what the work fails with later is nobody's business.

    :param seconds: how long at most.
    :return: whether it ended in time.
    :raise Exception: its failure, when it ended in time.
    """
    over: Deferred[None] = Deferred()
    outcome: list[object] = []

    def finish(result: object) -> None:
        outcome.append(result)
        if not over.called:
            over.callback(None)

    working = Deferred.fromCoroutine(_run(work))
    working.addBoth(finish)
    if not outcome:
        late = reactor.callLater(seconds, over.callback, None)
        try:
            await over
        finally:
            if late.active():
                late.cancel()
            in_time = bool(outcome)
            working.cancel()
        if not in_time:
            return False
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return True


def ended_or_late(reactor: IReactorTime, seconds: float, work: Deferred[Any]) -> Deferred[None]:
    """Return what fires when some work has ended, well or badly, or after a while; the work goes on all the same."""
    over: Deferred[None] = Deferred(lambda _: late.cancel())
    late = reactor.callLater(seconds, over.callback, None)

    def ended(result: Any) -> Any:
        if late.active():
            late.cancel()
            over.callback(None)
        return result

    work.addBoth(ended)
    return over


async def _run(work: Awaitable[object]) -> object:
    return await work
