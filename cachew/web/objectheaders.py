"""Which of a client's headers are stored with an object and given back with it (pure).

Everything is, but what belongs to the one exchange, says who the client is, or would tell a browser what it may do on
this server's origin.
"""

from collections.abc import Iterable, Mapping, Sequence

from cachew.cache.interface import entity_tag
from cachew.http.conditional import http_date
from cachew.plumbing.errors import BadRequest
from cachew.plumbing.units import parse_duration

_EXCHANGE = {
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "connection",
    "content-length",
    "content-range",
    "date",
    "etag",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "time-to-live",
    "traceparent",
    "tracestate",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
    "x-request-id",
}
_IDENTITY = {
    "authentication-info",
    "authorization",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
}
_ORIGIN = {
    "alt-svc",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "location",
    "nel",
    "permissions-policy",
    "referrer-policy",
    "refresh",
    "report-to",
    "service-worker-allowed",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
}
_PROXY = {"x-lighttpd-send-file", "x-reproxy-url", "x-sendfile"}
"""With which a server behind a proxy has that send something else (``x-accel-`` are nginx's)."""
_REFUSED = frozenset(_EXCHANGE | _IDENTITY | _ORIGIN | _PROXY)
_REFUSED_PREFIXES = ("access-control-", "cross-origin-", "proxy-", "sec-", "x-accel-", "x-csrf-", "x-forwarded-")


def storable(headers: Iterable[tuple[bytes, Sequence[bytes]]]) -> dict[str, str]:
    """Return the headers to store, several values of one name joined with a comma.

    :param headers: names and values as they came.
    """
    named = {name.decode("latin-1"): b", ".join(values).decode("latin-1") for name, values in headers}
    dropped = {
        option.strip().lower()
        for name, value in named.items()
        if name.lower() == "connection"
        for option in value.split(",")
    }
    return {name: value for name, value in named.items() if not _refused(name.lower()) and name.lower() not in dropped}


def _refused(name: str) -> bool:
    return name in _REFUSED or name.startswith(_REFUSED_PREFIXES)


def returned(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return stored headers as they are sent.

    They are looked through again: an object may have been stored by another way than the HTTP interface.
    """
    return [
        (name.encode("latin-1"), value.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" "))
        for name, value in headers.items()
        if name.isascii() and not _refused(name.lower())
    ]


def last_modified(headers: Mapping[str, str], stored: float) -> float:
    """Return when an object last changed: what its uploader said, but never after it was stored.

    :param headers: those stored with it; a malformed ``Last-Modified`` says nothing.
    :param stored: when it was stored, in seconds since the epoch.
    """
    said = next((http_date(value) for name, value in headers.items() if name.lower() == "last-modified"), None)
    return stored if said is None else min(said, stored)


def time_to_live(text: str) -> float | None:
    """Read the ``Time-To-Live`` header.

    :return: seconds; None when it is empty or zero, which leaves it to the cache.
    :raise BadRequest: when it is not a duration, or negative.
    """
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"Time-To-Live: {error}") from error
    if seconds < 0:
        raise BadRequest("Time-To-Live is negative")
    return seconds or None


def uploaded_tag(text: str) -> str | None:
    """Read the ``ETag`` header of an upload.

    :return: the tag without its quotes; None when there is none.
    :raise BadRequest: when it is not a strong entity tag.
    """
    if not text:
        return None
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        raise BadRequest('ETag must be a strong entity tag in quotes, like "v1"')
    return entity_tag(text[1:-1])
