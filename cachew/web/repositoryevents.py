"""What happened to each repository lately, as the log tells it: checks, fetches, what was made, what went wrong."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

KEPT = 100
"""Events of one repository."""
_REPOSITORIES = 5000
_LONGEST = 2000


@dataclass(frozen=True)
class Happening:
    """Something that happened.

    :param at: when, in seconds since the epoch.
    :param level: the log's level.
    :param text: what, in full.
    """

    at: float
    level: str
    text: str


@implementer(ILogObserver)
class RepositoryEvents:
    """Keeps the last events of each repository while it is open; of those least heard of, none."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[Happening]] = OrderedDict()

    def __call__(self, event: LogEvent) -> None:
        """Keep an event that is about a repository."""
        name, level = event.get("repository"), event.get("log_level")
        if not isinstance(name, str) or level is None or level < LogLevel.info:
            return
        kept = self._events.pop(name, None) or deque(maxlen=KEPT)
        kept.append(Happening(event.get("log_time") or 0.0, level.name, formatEvent(event)[:_LONGEST]))
        self._events[name] = kept
        while len(self._events) > _REPOSITORIES:
            self._events.popitem(last=False)

    async def open(self) -> None:
        """Begin."""
        globalLogPublisher.addObserver(self)

    async def close(self) -> None:
        """End."""
        globalLogPublisher.removeObserver(self)

    def of(self, name: str) -> Sequence[Happening]:
        """Return a repository's events, the last first."""
        return list(reversed(self._events.get(name, ())))
