"""Durations and sizes as people write them (pure).

Durations have the form of Go's ``time.ParseDuration``, which the original server's config and its ``Time-To-Live``
header use: ``90s``, ``15m``, ``1h30m``, ``1.5h``, ``250ms``. Sizes are whole bytes with a decimal (``500MB``) or
binary (``20GiB``) unit.
"""

import re
from decimal import Decimal

_DURATION_UNITS = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}
_DURATION_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(h|ms|m|s|us|µs|μs|ns)")
_LONGEST_DURATION = 2**63 / 1e9

_SIZE_UNITS = {"": 1, "B": 1}
_SIZE_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)}
_SIZE_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", start=1)}
_SIZE_UNITS |= {unit.replace("K", "k"): factor for unit, factor in list(_SIZE_UNITS.items()) if "K" in unit}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)")


def parse_duration(text: str) -> float:
    """Read a duration in Go's form.

    :param text: for example ``1h30m``; ``0`` needs no unit, a sign may lead.
    :return: seconds.
    :raise ValueError: when it is not a duration, or longer than Go's 292 years.
    """
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0.0
    seconds, position = Decimal(0), 0
    while position < len(rest) and (part := _DURATION_PART.match(rest, position)):
        seconds += Decimal(part[1]) * _DURATION_UNITS[part[2]]
        position = part.end()
    if not rest or position < len(rest):
        raise ValueError(f'"{text}" is not a duration; write for example "90s", "15m", "2h" or "1h30m"')
    if seconds >= _LONGEST_DURATION:
        raise ValueError(f'"{text}" is too long a duration')
    return sign * float(seconds)


def parse_size(text: str) -> int:
    """Read a size.

    :param text: for example ``500MB`` (decimal) or ``20GiB`` (binary); a bare number is bytes.
    :return: bytes.
    :raise ValueError: when it is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _SIZE_UNITS:
        raise ValueError(f'"{text}" is not a size; write for example "500MB", "20GiB" or a number of bytes')
    return int(Decimal(match[1]) * _SIZE_UNITS[match[2]])


def format_size(size: float) -> str:
    """Write a number of bytes for people: ``318 MB``, ``1.2 GB``."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= 1000
        if size < 999.5 or unit == "PB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"
