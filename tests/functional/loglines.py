"""What the servers log, for tests that count lines or wait for one."""

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.http.wire import patient


@implementer(ILogObserver)
class LogLines:
    """Every line logged, as text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._waiting: list[tuple[str, Deferred[str]]] = []

    def __call__(self, event: LogEvent) -> None:
        """Take an event from the publisher."""
        line = formatEvent(event)
        self.lines.append(line)
        for waiting in [one for one in self._waiting if one[0] in line]:
            self._waiting.remove(waiting)
            waiting[1].callback(line)

    def count(self, text: str) -> int:
        """Return how many lines hold a text."""
        return sum(text in line for line in self.lines)

    def next(self, text: str) -> "Deferred[str]":
        """Return a Deferred of the next line that holds a text."""
        deferred: Deferred[str] = Deferred()
        self._waiting.append((text, deferred))
        return patient(deferred)

    async def seen(self, text: str, times: int = 1) -> None:
        """Wait until so many lines with a text have been logged."""
        while self.count(text) < times:
            await self.next(text)


@contextmanager
def listening() -> Iterator[LogLines]:
    """Listen to the log."""
    lines = LogLines()
    globalLogPublisher.addObserver(lines)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(lines)
