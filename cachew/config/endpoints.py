"""What an endpoint description says about who can reach it (pure)."""

import re
from ipaddress import ip_address

_UNESCAPED_COLON = re.compile(r"(?<!\\):")
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


def _is_loopback(interface: str) -> bool:
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return False


def _is_private(mode: str) -> bool:
    return re.fullmatch("0?[0-7]{3}", mode) is not None and not int(mode, 8) & 0o077
