"""What an upstream's answer means that is not what was asked for."""

import pytest

from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.upstream.refusals import failure_of

URL = "https://git.example/org/repo"
BASIC = (b"WWW-Authenticate", b'Basic realm="GitHub"')
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
PAGE = (b"Content-Type", b"text/html; charset=utf-8")
HTML = b"<!DOCTYPE html><title>Sign in</title>"
APACHE = (
    b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>403 Forbidden</title>\n</head><body>\n'
    b"<h1>Forbidden</h1>\n<p>You don't have permission to access this resource.</p>\n</body></html>\n"
)
NGINX = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n"
    b"<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
)


def failure(status: int, *headers: tuple[bytes, bytes], text: bytes = b"") -> UpstreamError:
    return failure_of(URL, status, list(headers), text)


@pytest.mark.parametrize(
    ("status", "content_type", "text", "said"),
    [
        (
            503,
            TEXT,
            b"Down for maintenance\r\nuntil ten\x1b[0m.\n",
            "answered 503: Down for maintenance until ten?[0m.",
        ),
        (500, TEXT, b"", "answered 500"),
        (502, PAGE, HTML, "answered 502"),
        (
            500,
            (b"Content-Type", b"text/plain; x=y ;charset=utf-16"),
            "backup runs\n".encode("utf-16"),
            "answered 500: backup runs",
        ),
        (500, (b"Content-Type", b"text/plain; charset=klingon"), b"backup", "answered 500: backup"),
        (500, (b"Content-Type", b"text/plain; charset=hex"), b"backup", "answered 500: backup"),
        (500, (b"Content-Type", b'text/plain; charset="utf\x00"'), b"backup", "answered 500: backup"),
        (429, TEXT, b"Rate limit exceeded for user 7", "answered 429"),
    ],
)
def test_what_a_host_says_of_its_trouble(
    status: int, content_type: tuple[bytes, bytes], text: bytes, said: str
) -> None:
    """Its own plain words are told in one line, as git would show them; no page, and nothing of one client's limit."""
    assert str(failure(status, content_type, text=text)) == f"upstream {URL}: {said}"


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (401, [BASIC, TEXT], b"HTTP Basic: Access denied"),
        (401, [BASIC, PAGE], HTML),
        (401, [TEXT], b"who are you?"),
        (401, [], b""),
        (401, [BASIC, (b"Retry-After", b"5")], b""),
        (403, [TEXT], b"You are not allowed to read this"),
        (403, [BASIC, PAGE], HTML),
        (403, [PAGE], APACHE),
        (403, [PAGE], NGINX),
        (401, [PAGE], NGINX.replace(b"403 Forbidden", b"401 Authorization Required")),
        (403, [(b"X-RateLimit-Remaining", b"57"), TEXT], b"no"),
        (404, [TEXT], b"Repository not found."),
        (404, [], b""),
        (404, [PAGE], HTML),
        (404, [(b"Content-Type", b"application/json")], b'{"message": "not found"}'),
        (410, [], b""),
        (451, [TEXT], b"Repository unavailable due to DMCA takedown."),
    ],
)
def test_gits_own_refusals_are_verdicts(status: int, headers: list[tuple[bytes, bytes]], text: bytes) -> None:
    """A status that git takes for a refusal is one, with or without a challenge; small hosts say 404 with a page."""
    found = failure(status, *headers, text=text)
    assert isinstance(found, UpstreamRefused) and (found.status, found.body) == (status, text)


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (403, [PAGE], b"<html>Whoa there! You have triggered an abuse detection mechanism."),
        (403, [(b"X-RateLimit-Remaining", b"0"), TEXT], b""),
        (403, [(b"RateLimit-Remaining", b" 0")], b""),
        (403, [(b"Retry-After", b"30")], b""),
        (404, [(b"Retry-After", b"30"), PAGE], HTML),
        (403, [TEXT], b"API rate limit exceeded for 192.0.2.1."),
        (401, [], b"Too many requests"),
        (429, [], b""),
        (500, [PAGE], b"<html>Unicorn!"),
        (503, [BASIC], b""),
    ],
)
def test_rate_limits_are_trouble(status: int, headers: list[tuple[bytes, bytes]], text: bytes) -> None:
    """Whatever the status of a spent limit, the upstream is busy and says nothing about rights."""
    found = failure(status, *headers, text=text)
    assert isinstance(found, UpstreamBusy) and found.status == status


@pytest.mark.parametrize(
    "text",
    [
        NGINX.replace(b"</body>", b"<p>Too many requests</p></body>"),
        APACHE.replace(b"</body>", b'<form action="/login"></form></body>'),
        APACHE.replace(b"</head>", b'<meta http-equiv="refresh" content="0; url=/login"></head>'),
        APACHE + b"x" * 1024,
    ],
)
def test_a_page_that_says_more_than_the_status_is_trouble(text: bytes) -> None:
    """It may be of a limit or for a login, though its title is a web server's."""
    assert isinstance(failure(403, PAGE, text=text), UpstreamBusy)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("headers", [[PAGE], [(b"Content-Type", b"application/xhtml+xml")], []])
def test_pages_for_people_are_trouble(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """A page without a challenge is a forge's, a proxy's or a portal's, whatever its status."""
    assert isinstance(failure(status, *headers, text=HTML), UpstreamBusy)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (TEXT, b"error code: 1020"),
        (TEXT, b"error code: 1010\n"),
        ((b"cf-mitigated", b"challenge"), b"Just a moment..."),
    ],
)
def test_a_shield_before_a_host_is_trouble(header: tuple[bytes, bytes], text: bytes) -> None:
    """Cloudflare knows nothing of anybody's rights when it takes a client for a robot."""
    assert isinstance(failure(403, header, text=text), UpstreamBusy)
    assert isinstance(failure(403, TEXT, text=b"see error code: 1020"), UpstreamRefused)


@pytest.mark.parametrize("status", [204, 304, 400, 402, 405, 406, 407, 408, 409, 418, 421, 425, 431])
def test_anything_else_is_trouble(status: int) -> None:
    """What git would take for no refusal is none."""
    assert isinstance(failure(status, TEXT, text=b"?"), UpstreamUnreachable)


def test_proofs_of_a_connection_are_not_asked_for() -> None:
    """A host of Windows names and passwords is asked for the latter; one that takes nothing else is explained."""
    windows = (b"WWW-Authenticate", b"Negotiate"), (b"WWW-Authenticate", b"NTLM")
    both = failure(401, *windows, BASIC)
    assert isinstance(both, UpstreamRefused) and (both.status, list(both.headers)) == (401, [BASIC])
    alone = failure(401, *windows)
    assert isinstance(alone, UpstreamRefused) and alone.status == 403 and b"NTLM" in alone.body
