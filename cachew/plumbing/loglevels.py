"""The least level that is logged, which can be changed while the server runs."""

from typing import Any

from twisted.logger import ILogFilterPredicate, LogEvent, LogLevel, PredicateResult
from zope.interface import implementer

LEVELS = ("debug", "info", "warn", "error", "critical")
"""The names of levels, least first."""

_CHATTER = ("log_legacy", "twisted.conch.", "twisted.internet.", "twisted.web.")
"""Who speaks at the level of information about what only they care for: factories that start and stop, ports."""


@implementer(ILogFilterPredicate)
class LogLevels:
    """The least level that is logged; it passes events on or holds them back.

    :param level: one of :data:`LEVELS`.
    """

    def __init__(self, level: str = "info") -> None:
        self.level = level

    @property
    def level(self) -> str:
        """The least level that is logged."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"the log level must be one of {', '.join(LEVELS)}")
        self._level = level
        self._least = LogLevel.levelWithName(level)

    def __call__(self, event: LogEvent) -> Any:
        """Say whether an event is written (an ``ILogFilterPredicate``)."""
        level = event.get("log_level")
        if level is LogLevel.info and (event.get("log_namespace") or "").startswith(_CHATTER):
            level = LogLevel.debug
        if level is None or level < self._least:
            return PredicateResult.no
        return PredicateResult.maybe
