"""The log: which events are in it, what its lines look like, and what it said lately.

One observer does all of that, so that an event is put into words once, whoever wants to know of it. Its lines are text
or JSON; the level from which on events are logged can be changed while running.

Lines say for which request something was done: an id that is also in its answer and in what is sent upstream. It is of
the context in which a request is answered (:mod:`contextvars`), so coroutines that its handler awaits or starts have it
too. What many wait for has the id of the request that began it.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from itertools import islice
from math import isfinite
from typing import Any
from urllib.parse import quote

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from cachew.plumbing.clock import Clock
from cachew.plumbing.happenings import Happenings

LEVELS = ("debug", "info", "warn", "error", "critical")
"""The names of levels, least first."""

_CHATTER = ("log_legacy", "twisted.conch.", "twisted.internet.", "twisted.web.")
"""Who speaks at the level of information about what only they care for: factories that start and stop, ports."""
_STALE = "Removing stale pidfile"
_OWN_KEYS = frozenset({"message", "time", "system", "isError", "why", "format", "printed", "failure"})
_LINES = 1000
_LONGEST_LINE = 4000
_LONGEST_WORD = 100

REQUEST_ID = "X-Request-Id"
"""The header that has a request's id."""
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~+/=:@-]{0,127}")
_request_id: ContextVar[str] = ContextVar("request id", default="")


def request_id() -> str:
    """Return the id of the request that this is done for, empty where it is for none."""
    return _request_id.get()


def begin_request(identifier: str) -> None:
    """Have what follows in this context be done for a request."""
    _request_id.set(identifier)


def chosen_id(shown: str, make: Callable[[], str]) -> str:
    """Return the id that a client or a proxy has given a request; one that is made, where that can't be one.

    :param shown: the header's value.
    """
    return shown if _ACCEPTED_ID.fullmatch(shown) else make()


@implementer(ILogObserver)
class EventLog:
    """The log of this process.

    :param level: the least that is logged, one of :data:`LEVELS`.
    """

    def __init__(self, level: str = "info") -> None:
        self.level = level
        self._file: Any = None
        self._form = "text"
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._last = 0
        self.happenings = Happenings()
        """What happened to each repository lately."""

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

    def write_to(self, file: Any, form: str) -> None:
        """Write to a file from now on.

        :param file: what has ``write`` and ``flush``.
        :param form: ``text`` (a line per event, then the traceback if there is one) or ``json`` (an object per line).
        """
        self._file, self._form = file, form

    async def open(self) -> None:
        """Hear of events; a log with a file is given to ``twistd`` and hears of them already."""
        if self._file is None:
            globalLogPublisher.addObserver(self)

    async def close(self) -> None:
        """End that; what comes after it belongs into a file all the same."""
        if self._file is None:
            globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Write an event down, and keep what is asked for later."""
        level = event.get("log_level")
        if level is None:
            return
        logged = self._takes(event, level)
        name = repository_of(event) if level >= LogLevel.info else ""
        if logged or name:
            message = formatEvent(event)
            if name:
                self.happenings.note(name, event.get("log_time") or 0.0, level.name, message)
            if logged:
                self._write(event, message)

    def _takes(self, event: LogEvent, level: Any) -> bool:
        if level is LogLevel.info and (event.get("log_namespace") or "").startswith(_CHATTER):
            level = LogLevel.debug
        return bool(level >= self._least)

    def _write(self, event: LogEvent, message: str) -> None:
        line = _text(event, message)
        self._lines.append(line.rstrip("\n")[:_LONGEST_LINE])
        self._last += 1
        if self._file is not None:
            self._file.write(_json(event, message) if self._form == "json" else line)
            self._file.flush()

    def after(self, number: int) -> tuple[Sequence[str], int]:
        """Return the last lines after the one with a number, and the number of the last.

        :param number: one that this server has never given stands for none.
        """
        first = self._last - len(self._lines)
        known = number if 0 <= number <= self._last else 0
        return list(islice(self._lines, max(0, known - first), None)), self._last


def repository_of(event: Mapping[str, Any]) -> str:
    """Return which repository an event of the log is about, empty for none."""
    name = event.get("repository")
    if isinstance(name, str):
        return name
    for field, before in (("what", " of "), ("key", ":")):
        # Work behind is called "fetch of host/path", what is made "snapshot:host/path ref=…".
        text = event.get(field)
        if isinstance(text, str):
            name = text.partition(before)[2].partition(" ")[0]
            if "/" in name:
                return name
    return ""


def in_one_word(text: str | bytes) -> str:
    """Return something of a stranger's for the log: of bounded length, and no line breaks in it."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return quote(data[:_LONGEST_WORD], safe="/:=,@+")


def drop_notice(form: str, clock: Clock) -> Callable[[int], str]:
    """Return what makes the line that tells how many others were dropped, in the log's form.

    :param clock: what time it is.
    """
    line = json_line if form == "json" else text_line

    def notice(count: int) -> str:
        return line(
            {
                "log_level": LogLevel.warn,
                "log_namespace": __name__,
                "log_format": "{count} lines of the log were dropped here, because whoever takes it was too slow",
                "log_time": clock.now(),
                "count": count,
            }
        )

    return notice


def text_line(event: LogEvent) -> str:
    """Write an event as one line; line breaks in its text can't fake another event."""
    return _text(event, formatEvent(event))


def json_line(event: LogEvent) -> str:
    """Write an event as a JSON object with its fields."""
    return _json(event, formatEvent(event))


def _text(event: LogEvent, message: str) -> str:
    level = _level_of(event)
    system = event.get("log_namespace") or "-"
    message = message.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    identifier = f" [{of}]" if (of := _request_id.get()) else ""
    line = f"{_time(event)} {level.name if level else '-':<8} {system}: {message}{identifier}\n"
    return line + _traceback(event)


def _json(event: LogEvent, message: str) -> str:
    level = _level_of(event)
    fields: dict[str, Any] = {
        "time": _time(event),
        "level": level.name if level else None,
        "logger": event.get("log_namespace"),
        "message": message,
    }
    fields |= {
        name: _value(value) for name, value in event.items() if not name.startswith("log_") and name not in _OWN_KEYS
    }
    if identifier := _request_id.get():
        fields["request_id"] = identifier
    if traceback := _traceback(event):
        fields["traceback"] = traceback
    return json.dumps(fields) + "\n"


def _level_of(event: LogEvent) -> Any:
    """Return an event's level; ``twistd`` calls it critical that the last server's process id was left behind."""
    level = event.get("log_level")
    return LogLevel.warn if level is LogLevel.critical and _STALE in str(event.get("log_text", "")) else level


def _time(event: LogEvent) -> str:
    """Return when an event was, as RFC 3339 has it, to the millisecond."""
    return datetime.fromtimestamp(event.get("log_time") or 0.0).astimezone().isoformat(timespec="milliseconds")


def _value(value: object) -> object:
    """Return a field's value as JSON has it: numbers as numbers, but for those that JSON has none of."""
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return "" if failure is None else str(failure.getTraceback())
