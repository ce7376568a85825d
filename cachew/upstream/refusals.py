"""What an upstream's answer to a git request means that is not what was asked for (pure).

Only what git itself would take for a refusal says something about rights. Forges answer a spent rate limit with 403 and
a page, proxies a lost session with a page for a login, and gateways anything at all: that is an upstream in trouble.
"""

from http import HTTPStatus

from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.upstream import headers as http
from cachew.upstream.listing import printable

ABOUT_RIGHTS = frozenset({
    HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
})  # fmt: skip
"""The statuses by which a host refuses a repository to somebody; any other 4xx is of something in between."""

_SPENT = (b"x-ratelimit-remaining", b"ratelimit-remaining", b"x-rate-limit-remaining")
_LIMITED = (b"rate limit", b"ratelimit", b"rate-limit", b"too many requests", b"abuse detection", b"quota exceeded")


def failure_of(url: str, status: int, headers: http.RawHeaders, text: bytes) -> UpstreamError:
    """Return what a git request has met with.

    :param url: the repository's.
    :param status: anything but 200.
    :param text: the start of the body.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # Of the host itself, so everybody may read it; what is said of a limit may name the client that has reached it.
        return _busy(url, status, headers, said=_plain(headers, text))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _busy(url, status, headers)
    if status not in ABOUT_RIGHTS:
        return UpstreamUnreachable(url, f"answered {status} to a git request")
    challenged = http.first(headers, b"www-authenticate") is not None
    if not challenged and (_is_limit(headers, text) or _is_page(status, headers, text)):
        return _busy(url, status, headers)
    return UpstreamRefused(url, status=status, headers=http.of_refusal(headers), body=text)


def names_a_limit(text: bytes) -> bool:
    """Whether a text says that somebody asks too much."""
    lower = text.lower()
    return any(words in lower for words in _LIMITED)


def _busy(url: str, status: int, headers: http.RawHeaders, *, said: str = "") -> UpstreamBusy:
    reason = f"answered {status}: {said}" if said else f"answered {status}"
    return UpstreamBusy(url, reason, status=status, retry_after=http.retry_after(headers))


def _plain(headers: http.RawHeaders, text: bytes) -> str:
    """Return in one line what a host says in plain text, which git would show; empty for anything else."""
    return printable(b" ".join(text.split())) if http.media_type(headers) == "text/plain" else ""


def _is_limit(headers: http.RawHeaders, text: bytes) -> bool:
    spent = any((http.first(headers, name) or b"").strip() == b"0" for name in _SPENT)
    return spent or http.first(headers, b"retry-after") is not None or names_a_limit(text)


def _is_page(status: int, headers: http.RawHeaders, text: bytes) -> bool:
    """Whether an answer is a page for people; what isn't there is shown as one by small hosts of git too."""
    if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    start = text.lstrip()[:64].lower()
    return http.is_for_people(headers) or start.startswith((b"<!doctype html", b"<html"))
