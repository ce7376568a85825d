"""Which HTTP headers travel on to an upstream and back (pure).

Hop-by-hop headers end here (RFC 9110, section 7.6.1), and so does everything that describes the way to this server or
its identity: the upstream must not be told of the client's network, and the client must not take the upstream's
promises about its own host (``Strict-Transport-Security``, ``Alt-Svc``) for ours.
"""

from collections.abc import Iterable
from email.utils import parsedate_to_datetime

RawHeaders = list[tuple[bytes, bytes]]

LONGEST_WAIT = 3600.0
"""The longest ``Retry-After``, in seconds, that is believed."""

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade", b"http2-settings",
    b"content-length",
})  # fmt: skip
_REQUEST_ONLY = frozenset({b"host", b"expect", b"forwarded", b"via", b"x-real-ip", b"proxy", b"cookie"})
_RESPONSE_ONLY = frozenset({
    b"alt-svc", b"strict-transport-security", b"public-key-pins", b"set-cookie", b"server", b"x-content-type-options",
    b"referrer-policy", b"x-frame-options", b"clear-site-data", b"service-worker-allowed", b"refresh", b"nel",
    b"report-to", b"reporting-endpoints", b"permissions-policy", b"timing-allow-origin",
})  # fmt: skip
_REQUEST_PREFIXES = (b"proxy-", b"x-forwarded-")
# A page from an upstream must not take off the fetters that this origin puts on it, nor open it to other sites.
_RESPONSE_PREFIXES = (*_REQUEST_PREFIXES, b"access-control-", b"content-security-policy", b"cross-origin-")
_REFUSAL = frozenset({b"www-authenticate", b"content-type", b"content-language", b"retry-after", b"lfs-authenticate"})


def for_upstream(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of a client's request that its upstream may see; the length is set by who sends the body."""
    return _kept(headers, _REQUEST_ONLY, _REQUEST_PREFIXES)


def for_client(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of an upstream's response that the client may see."""
    return _kept(headers, _RESPONSE_ONLY, _RESPONSE_PREFIXES)


def of_refusal(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of a refusal that git's credential helpers need."""
    return [(name, value) for name, value in headers if name.lower() in _REFUSAL]


def _kept(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes], prefixes: tuple[bytes, ...]) -> RawHeaders:
    headers = list(headers)
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    return [
        (name, value)
        for name, value in headers
        if (low := name.lower()) not in _HOP_BY_HOP | dropped | named and not low.startswith(prefixes)
    ]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of a header."""
    return next((value for key, value in headers if key.lower() == name), None)


def media_type(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the lower-case content type without parameters; empty when there is none."""
    value = first(headers, b"content-type") or b""
    return value.split(b";")[0].strip().lower().decode("latin-1")


def retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, at most :data:`LONGEST_WAIT`.

    A date in it is compared with the response's own ``Date``, so that no clock here matters.
    """
    headers = list(headers)
    value = (first(headers, b"retry-after") or b"").strip()
    if value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    date = first(headers, b"date")
    if not value or date is None:
        return None
    try:
        wait = parsedate_to_datetime(value.decode("ascii")) - parsedate_to_datetime(date.decode("ascii"))
    except (ValueError, TypeError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_WAIT)
