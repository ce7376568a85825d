"""Which headers travel on."""

import pytest

from cachew.upstream.headers import for_client, for_storage, for_upstream, media_type, retry_after


@pytest.mark.parametrize(
    "name",
    [
        b"X-Secret", b"X-Accel-Redirect", b"X-Sendfile", b"Transfer_Encoding", b"Proxy_Authorization",
        b"Content_Length", b"Connection", b"TE", b"Upgrade", b"Keep-Alive", b"Content-Encoding-X", b"Authorization_",
        b"X-Original-URL", b"X-HTTP-Method-Override", b"Location", b"Link", b"Set-Cookie", b"Server",
    ],
)  # fmt: skip
def test_only_what_is_listed_travels(name: bytes) -> None:
    """Nothing but what git and git-lfs need is relayed in either direction, whatever else it is called."""
    headers = [(name, b"1"), (b"CONTENT-TYPE", b"2")]
    assert for_upstream(headers) == for_client(headers) == [(b"CONTENT-TYPE", b"2")]


@pytest.mark.parametrize("name", [b"Host", b"Content_Length", b"Transfer-Encoding", b"Range", b"Proxy-X", b"a b", b""])
def test_a_storage_sees_what_it_wants_to(name: bytes) -> None:
    """A storage is shown what its upstream says, but nothing that governs the exchange itself."""
    assert for_storage([(name, b"1"), (b"x-amz-date", b"2")]) == [(b"x-amz-date", b"2")]


def test_identity_stays() -> None:
    """The upstream's promises about its own host don't reach the client."""
    kept = for_client([(b"Strict-Transport-Security", b"x"), (b"Set-Cookie", b"y"), (b"ETag", b"z")])
    assert kept == [(b"ETag", b"z")]


@pytest.mark.parametrize(
    "name",
    [b"Content-Security-Policy", b"X-Content-Type-Options", b"Access-Control-Allow-Origin", b"Clear-Site-Data"],
)
def test_fetters_stay(name: bytes) -> None:
    """An upstream does not loosen what this server tells browsers about its own origin."""
    assert for_client([(name, b"anything"), (b"ETag", b"z")]) == [(b"ETag", b"z")]


@pytest.mark.parametrize("name", [b"Proxy", b"Proxy-Authorization", b"X-Forwarded-For", b"Cookie", b"Host"])
def test_way_and_identity(name: bytes) -> None:
    """The upstream learns nothing of the way to this server, and gets no cookie that was meant for it."""
    assert for_upstream([(name, b"x"), (b"Accept", b"z")]) == [(b"Accept", b"z")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"120", 120.0),
        (b"999999999999", 3600.0),
        (b"Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        (b"Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
        (b"-5", None),
        (b"soon", None),
        (b"", None),
        (b"\xff", None),
        (b"Wed, 21 Oct 2026 07:28:30", None),
    ],
)
def test_retry_after(value: bytes, expected: float | None) -> None:
    """Retry-After is read as seconds or as a date, within reason."""
    assert retry_after([(b"Retry-After", value), (b"Date", b"Wed, 21 Oct 2026 07:28:00 GMT")]) == expected


def test_retry_after_without_date() -> None:
    """A date without the response's own Date says nothing."""
    assert retry_after([(b"Retry-After", b"Wed, 21 Oct 2026 07:28:30 GMT")]) is None


def test_media_type() -> None:
    """Parameters and case of a content type don't matter."""
    assert media_type([(b"Content-Type", b"Text/HTML; charset=x")]) == "text/html"
    assert media_type([]) == ""
