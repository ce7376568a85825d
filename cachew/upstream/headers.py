"""Which HTTP headers travel on to an upstream and back (pure).

Nothing travels but what is listed here, in either direction: git and git-lfs need few headers, and whatever else there
is describes a hop (RFC 9110, section 7.6.1, whatever its name looks like to the next program), the client's network, or
what an upstream says about its own host, which browsers would take for ours.
"""

import re
from collections.abc import Collection, Iterable

from cachew.plumbing.retryafter import asked_wait
from cachew.upstream import challenges

RawHeaders = list[tuple[bytes, bytes]]

LONGEST_WAIT = 3600.0
"""The longest ``Retry-After``, in seconds, that is believed."""

_FOR_PEOPLE = ("text/html", "application/xhtml+xml")
_REQUEST = frozenset({
    b"accept", b"accept-language", b"cache-control", b"content-encoding", b"content-language", b"content-type",
    b"git-protocol", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
    b"pragma", b"range", b"user-agent",
})  # fmt: skip
# Bodies are decoded before they leave, so nothing is told of how they were encoded; whoever sends one sets its length.
_RESPONSE = frozenset({
    b"accept-ranges", b"age", b"cache-control", b"content-disposition", b"content-language", b"content-range",
    b"content-type", b"date", b"etag", b"expires", b"last-modified", b"lfs-authenticate", b"pragma",
    b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset", b"retry-after", b"vary", b"warning",
    b"www-authenticate", b"x-github-request-id", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset",
    b"x-request-id",
})  # fmt: skip
_REFUSAL = frozenset({b"www-authenticate", b"content-type", b"content-language", b"retry-after", b"lfs-authenticate"})
# What an upstream says that its storage wants to see is sent there, but for what governs the exchange itself.
_STORAGE = re.compile(rb"[A-Za-z0-9!#$%&'*+.^`|~-]+")
_NOT_TO_STORAGES = frozenset({
    b"accept-encoding", b"connection", b"content-length", b"expect", b"forwarded", b"host", b"http2-settings",
    b"keep-alive", b"proxy", b"range", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade", b"user-agent",
    b"via", b"x-real-ip",
})  # fmt: skip
_NOT_TO_STORAGES_PREFIXES = (b"proxy-", b"x-forwarded-")


def for_upstream(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of a client's request that its upstream may see.

    What a client proves itself with goes its own way (:func:`of_credential`), and the length is set by who sends the
    body.
    """
    return [(name, value) for name, value in headers if name.lower() in _REQUEST]


def of_credential(credential: str | None) -> RawHeaders:
    """Return the headers by which a credential, as :mod:`cachew.upstream.presented_credential` has it, is shown."""
    if credential is None:
        return []
    authorization, *others = credential.encode("latin-1").split(b"\n")
    pairs = [line.partition(b": ") for line in others]
    shown = [(name, value) for name, _, value in pairs]
    return [(b"Authorization", authorization), *shown] if authorization or not others else shown


def for_client(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of an upstream's response that the client may see."""
    return _chosen(headers, _RESPONSE)


def for_storage(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers that a storage may see of those which an upstream says it wants to."""
    return [
        (name, value)
        for name, value in headers
        if _STORAGE.fullmatch(name)
        and (low := name.lower()) not in _NOT_TO_STORAGES
        and not low.startswith(_NOT_TO_STORAGES_PREFIXES)
    ]


def of_refusal(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of a refusal that git's credential helpers need."""
    return _chosen(headers, _REFUSAL)


def _chosen(headers: Iterable[tuple[bytes, bytes]], names: Collection[bytes]) -> RawHeaders:
    chosen: RawHeaders = []
    for name, value in headers:
        low = name.lower()
        sent = challenges.passed_on(value) if low in challenges.NAMES else value
        if low in names and (sent or not value):
            chosen.append((name, sent))
    return chosen


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of a header."""
    return next((value for key, value in headers if key.lower() == name), None)


def media_type(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the lower-case content type without parameters; empty when there is none."""
    value = first(headers, b"content-type") or b""
    return value.split(b";")[0].strip().lower().decode("latin-1")


def is_for_people(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer is a page, which no program has asked for."""
    return media_type(headers) in _FOR_PEOPLE


def retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, at most :data:`LONGEST_WAIT`."""
    headers = list(headers)
    said = (first(headers, name) or b"" for name in (b"retry-after", b"date"))
    wait = asked_wait(*(value.decode("latin-1") for value in said))
    return None if wait is None else min(wait, LONGEST_WAIT)
