"""Names of cached objects, as the original command line makes them (pure)."""

import hashlib
import re
from datetime import datetime

from cachew.client.clienterrors import BadUsage

_NAMESPACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+")
_SYSTEMS = {"win32": "windows", "cygwin": "windows"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386", "armv6l": "arm", "armv7l": "arm"}


def digest(key: str) -> str:
    """Return the 64 hex digits under which an object is kept: the key itself when it is such, else its SHA-256."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", key):
        return key.lower()
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def platform_prefix(*, system: str, machine: str) -> str:
    """Return ``os-arch-`` in Go's words.

    :param system: as ``sys.platform`` has it.
    :param machine: as ``platform.machine()`` has it.
    """
    machine = machine.lower()
    return f"{_SYSTEMS.get(system, system)}-{_MACHINES.get(machine, machine)}-"


def prefixed(key: str, *, platform: str, now: datetime, stamp: str) -> str:
    """Return a key with its prefixes, the date outermost.

    :param platform: the platform's prefix, empty for none.
    :param stamp: the date's, in the letters of strftime, empty for none.
    """
    return now.strftime(stamp) + platform + key


def check_namespace(namespace: str) -> str:
    """Return a namespace that is well formed.

    :raise BadUsage: when it is not.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise BadUsage(f"{namespace!r} is not a namespace", "It begins with a letter or digit; then - and _ may come.")
    return namespace


def check_duration(text: str) -> str:
    """Return a duration in Go's form (``1h30m``) that is well formed.

    :raise BadUsage: when it is not.
    """
    if not _DURATION.fullmatch(text):
        raise BadUsage(f"{text!r} is not a duration", "Write it like 90s, 15m or 1h30m.")
    return text
