"""What an endpoint description says about who can reach it (pure)."""

import re
from ipaddress import ip_address

_UNESCAPED_COLON = re.compile(r"(?<!\\):")
_OF_PORTS = ("tcp", "tcp6", "ssl", "tls")
_HIGHEST_PORT = 65535
_LONGEST_BACKLOG = 2**31 - 1
_ALLOWED = 'a loopback address, for example "tcp:2222:interface=127.0.0.1", or "unix:PATH:mode=600"'


def reach_of_shell(description: str) -> str:
    """Say why a description is not fit for a shell, which only local users may reach.

    :param description: a Twisted server endpoint.
    :return: what is wrong and what is allowed, empty when it is fit.
    """
    kind, *words = [word.replace("\\:", ":") for word in _UNESCAPED_COLON.split(description)]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if kind in ("tcp", "tcp6") and _is_loopback(options.get("interface", "")):
        return ""
    if kind == "unix" and _is_private(options.get("mode", "")):
        return ""
    return f"must be {_ALLOWED}"


def numbers_complaint(description: str) -> str:
    """Say what no socket takes of a description that is well-formed; nothing when there is nothing.

    :param description: a Twisted server endpoint, or one of our own kind.
    """
    kind, first, *words = [*_UNESCAPED_COLON.split(description), ""]
    options = dict(word.partition("=")[::2] for word in (first, *words) if "=" in word)
    port, backlog = options.get("port", "0") if "=" in first else first, options.get("backlog", "1")
    if kind in _OF_PORTS and not (port.isdecimal() and int(port) <= _HIGHEST_PORT):
        return f"a port is a number up to {_HIGHEST_PORT}"
    if not (backlog.isdecimal() and int(backlog) <= _LONGEST_BACKLOG):
        return f"a backlog is a number up to {_LONGEST_BACKLOG}"
    return "" if description.isprintable() else "it holds control characters"


def _is_loopback(interface: str) -> bool:
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return False


def _is_private(mode: str) -> bool:
    return re.fullmatch("0?[0-7]{3}", mode) is not None and not int(mode, 8) & 0o077
