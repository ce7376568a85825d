"""Those who wait until something has happened that happens to all of them at once."""

from twisted.internet.defer import Deferred


class Waiters:
    """A number of waits that end together; each can be given up alone."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self) -> Deferred[None]:
        """Return what fires at the next :meth:`wake`; cancelling it gives up this wait only."""
        waiter: Deferred[None] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[None]) -> None:
        # Who was woken before may have made this one leave.
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def wake(self) -> None:
        """Let everybody go on who waits now."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
