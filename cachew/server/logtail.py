"""The last lines of the log, for those who look after the server from elsewhere."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from twisted.logger import FilteringLogObserver, ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from cachew.plumbing.loglevels import LogLevels
from cachew.server.logs import text_line

_LINES = 1000
_LONGEST = 4000


@implementer(ILogObserver)
class LogTail:
    """Keeps the last lines while it is open.

    :param levels: which events count.
    """

    def __init__(self, levels: LogLevels) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._last = 0
        self._observer = FilteringLogObserver(self, [levels])

    def __call__(self, event: LogEvent) -> None:
        """Keep an event's line."""
        self._lines.append(text_line(event).rstrip("\n")[:_LONGEST])
        self._last += 1

    async def open(self) -> None:
        """Begin."""
        globalLogPublisher.addObserver(self._observer)

    async def close(self) -> None:
        """End."""
        globalLogPublisher.removeObserver(self._observer)

    def after(self, number: int) -> tuple[Sequence[str], int]:
        """Return the kept lines after the one with a number, and the number of the last.

        :param number: one that this server has never given stands for none.
        """
        first = self._last - len(self._lines)
        known = number if 0 <= number <= self._last else 0
        return list(islice(self._lines, max(0, known - first), None)), self._last
