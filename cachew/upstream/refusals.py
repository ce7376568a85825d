"""What an upstream's answer to a git request means that is not what was asked for (pure).

Only what git itself would take for a refusal says something about rights. Forges answer a spent rate limit with 403 and
a page, proxies a lost session with a page for a login, and gateways anything at all: that is an upstream in trouble.
The pages of web servers that only repeat the status in words are none of these: Apache (what it says without an
``ErrorDocument``, https://httpd.apache.org/docs/2.4/custom-error.html) and nginx forbid so where rights are theirs.
"""

import re
from contextlib import suppress
from http import HTTPStatus

from werkzeug.http import parse_options_header

from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.upstream import headers as http
from cachew.upstream.challenges import EXPLANATION, EXPLANATION_HEADERS, has_only_bound
from cachew.upstream.listing import printable

ABOUT_RIGHTS = frozenset({
    HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
})  # fmt: skip
"""The statuses by which a host refuses a repository to somebody; any other 4xx is of something in between."""

_SPENT = (b"x-ratelimit-remaining", b"ratelimit-remaining", b"x-rate-limit-remaining")
_STATUS_AGAIN = re.compile(
    rb"<title>\s*(?:40[13]\s+)?(?:forbidden|unauthorized|(?:401 )?authorization required)\s*</title>"
)
_EDGE = re.compile(rb"error code: 1\d{3}\s*")
_FORM = (b"<form", b"<script", b"<input", b"<meta")
_BARE = 1024
"""The longest page, in bytes, that says nothing but the status."""
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
    if not challenged and (_is_limit(headers, text) or _is_page(status, headers, text) or _is_edge(headers, text)):
        return _busy(url, status, headers)
    if status == HTTPStatus.UNAUTHORIZED and has_only_bound(headers):
        return UpstreamRefused(url, status=HTTPStatus.FORBIDDEN, headers=EXPLANATION_HEADERS, body=EXPLANATION)
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
    if http.media_type(headers) != "text/plain":
        return ""
    declared = (http.first(headers, b"content-type") or b"").decode("latin-1")
    charset = parse_options_header(declared)[1].get("charset", "utf-8")
    with suppress(LookupError, ValueError):  # one that nobody knows, that is no charset of texts, or no name at all
        text = text.decode(charset, "replace").encode()
    return printable(b" ".join(text.split()))


def _is_limit(headers: http.RawHeaders, text: bytes) -> bool:
    spent = any((http.first(headers, name) or b"").strip() == b"0" for name in _SPENT)
    return spent or http.first(headers, b"retry-after") is not None or names_a_limit(text)


def _is_edge(headers: http.RawHeaders, text: bytes) -> bool:
    """Whether what answers is Cloudflare before the host: it blocks whom it takes for robots, hosts of git included.

    To programs it says so in one line (JimmyLaurent/cloudflare-scraper#27), to browsers with a page, and in a header
    (its documentation, "Detect a challenge page response").
    """
    return _EDGE.fullmatch(text) is not None or http.first(headers, b"cf-mitigated") is not None


def _is_page(status: int, headers: http.RawHeaders, text: bytes) -> bool:
    """Whether an answer is a page for people; what isn't there is shown as one by small hosts of git too."""
    if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    page = text.lstrip().lower()
    if not http.is_for_people(headers) and not page.startswith((b"<!doctype html", b"<html")):
        return False
    return not _only_says_the_status(page)


def _only_says_the_status(page: bytes) -> bool:
    if len(page) > _BARE or any(part in page for part in _FORM):
        return False
    return _STATUS_AGAIN.search(page) is not None
