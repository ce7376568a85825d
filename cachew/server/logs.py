"""How the log is written: as text or as JSON lines, from a level on that can be changed while running."""

import json
from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
)

from cachew.plumbing import requestid
from cachew.plumbing.loglevels import LogLevels

_STALE = "Removing stale pidfile"
_OWN_KEYS = frozenset({"message", "time", "system", "isError", "why", "format", "printed", "failure"})


def observer(*, file: Any, form: str, levels: LogLevels) -> ILogObserver:
    """Return an observer that writes events of sufficient level to a file.

    :param file: what has ``write`` and ``flush``.
    :param form: ``text`` (one line per event, then the traceback if there is one) or ``json`` (one object per line).
    """
    write = FileLogObserver(file, json_line if form == "json" else text_line)
    return FilteringLogObserver(write, [levels])


def drop_notice(form: str, now: Callable[[], float]) -> Callable[[int], str]:
    """Return what makes the line that tells how many others were dropped, in the log's form.

    :param now: the time of day, in seconds since the epoch.
    """
    line = json_line if form == "json" else text_line

    def notice(count: int) -> str:
        return line(
            {
                "log_level": LogLevel.warn,
                "log_namespace": __name__,
                "log_format": "{count} lines of the log were dropped here, because whoever takes it was too slow",
                "log_time": now(),
                "count": count,
            }
        )

    return notice


def text_line(event: LogEvent) -> str:
    """Write an event as one line; line breaks in its text can't fake another event."""
    level = _level_of(event)
    system = event.get("log_namespace") or "-"
    message = formatEvent(event).replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    identifier = f" [{of}]" if (of := requestid.current()) else ""
    line = f"{_time(event)} {level.name if level else '-':<8} {system}: {message}{identifier}\n"
    return line + _traceback(event)


def json_line(event: LogEvent) -> str:
    """Write an event as a JSON object with its fields."""
    level = _level_of(event)
    fields: dict[str, Any] = {
        "time": _time(event),
        "level": level.name if level else None,
        "logger": event.get("log_namespace"),
        "message": formatEvent(event),
    }
    fields |= {
        name: _value(value) for name, value in event.items() if not name.startswith("log_") and name not in _OWN_KEYS
    }
    if identifier := requestid.current():
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
