"""This server's address as a client sees it, for the addresses that answers name."""

import re
from collections.abc import Callable
from typing import Any

from cachew.http.requests import StreamingRequest

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def origin_of(request: StreamingRequest, is_https: Callable[[Any], bool]) -> str:
    """Return scheme and host as the client sees them; empty when it didn't say anything usable.

    A client that lies about its host lies to itself.

    :param is_https: whether a request came over HTTPS.
    """
    host = request.getHeader("host") or ""
    if not _HOST.fullmatch(host):
        return ""
    return f"{'https' if is_https(request) else 'http'}://{host}"
