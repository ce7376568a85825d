"""Kinds of values: what each takes, what it makes of that, and that it says what it would take."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cachew.config import types
from cachew.config.inforce import SettingsInForce
from cachew.config.settings import Settings


def read(kind: Any, value: object) -> Any:
    """Read a value."""
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (types.Duration, "1h30m", 5400.0),
        (types.DurationOrZero, "0s", 0.0),
        (types.Size, "20GiB", 20 << 30),
        (types.Size, 0, 0),
        (types.Bound, 1, 1),
        (types.HostName, "git.example:8443", "git.example:8443"),
        (types.HostName, "git.example:65535", "git.example:65535"),
        (types.HostName, "*", "*"),
        (types.BaseUrl, "https://git.example", "https://git.example/"),
        (types.BaseUrl, "http://10.0.0.5:3000/git/", "http://10.0.0.5:3000/git/"),
        (types.ProxyUrl, "none", "none"),
        (types.ObjectPrefix, "/cachew/test/", "cachew/test"),
        (types.ObjectPrefix, "", ""),
        (types.HeaderLine, "Authorization: Bearer x", "Authorization: Bearer x"),
        (types.HeaderNames, "Cookie", ("cookie",)),
        (types.OwnHostNames, "Cachew.example", ("Cachew.example",)),
        (types.Methods, ["GET", "PUT"], ("GET", "PUT")),
        (types.Count, 0, 0),
    ],
)
def test_what_is_taken(kind: Any, value: object, found: object) -> None:
    """As people write it."""
    assert read(kind, value) == found


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((types.Duration, value) for value in ("0s", "-1s", "", "1", 90, True, None, "1e9999s")),
        *((types.DurationOrZero, value) for value in ("-1s", 0)),
        *((types.Size, value) for value in (-1, True, "-5GB", "", 1.5, None)),
        *((types.Bound, value) for value in (0, "0B")),
        *((types.HostName, value) for value in ("Git.example", "", "git.example:443", "git.example:0", "a b", "a/b")),
        *((types.HostName, value) for value in ("git.example:65536", "git.example:99999", "-a", "a-", "http://a")),
        *((types.Addresses, value) for value in ("*", "git.example:99999", "https://git.example:99999/", "https://")),
        *(
            (types.BaseUrl, value)
            for value in ("git.example", "ftp://a/", "https://", "https://u:p@a/", "https://a/?x")
        ),
        *((types.BaseUrl, value) for value in ("https://a:0/", "https://a:99999/", "https://[::1/", "https://a b/")),
        *((types.ProxyUrl, value) for value in ("", "socks5://a:1", "None")),
        *((types.ObjectPrefix, value) for value in ("a//b", "..", "a/../b", "a\n", "/")),
        *((types.HeaderLine, value) for value in ("X", "X:", ": x", "Authorization: x", "Authorization:  ", " : x")),
        *((types.HeaderNames, value) for value in ("Range", "a b", "", "X-Forwarded-For", "x_y")),
        *((types.OwnHostNames, value) for value in ("a:80", "http://a", "a/b", "")),
        *((types.Methods, value) for value in ("get", "TRACE", "")),
        *((types.Count, value) for value in (-1, "1", True, 1.0)),
        *((types.AtLeastOne, value) for value in (0, "1")),
        *((types.Token, value) for value in ("", " a", "a b", "a\nb", "\u00e9")),
        *((types.Secret, value) for value in ("", "  ", "a ", "a\n")),
        *((types.Rooted, value) for value in ("", "metrics")),
        *((types.Address, value) for value in ("", "a", 1, "10.0.0.0/8")),
        *((types.Network, value) for value in ("", "10.0.0.1/8", 1, "a")),
        *(
            (types.BaseUrl, value)
            for value in ("https://\u00e9/", "https://a/\u00e9", "https://a/b c", "https://a/\x7f")
        ),
        *((types.HttpUrl, value) for value in ("https://a^b/", 'https://a"b/', "https://a\\b/")),
        *((types.FilePath, value) for value in ("", "a\0b", "/a\n")),
    ],
)
def test_what_is_refused(kind: Any, value: object) -> None:
    """With a text for who has written it; what may be secret is not repeated."""
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    assert all(error["msg"] for error in caught.value.errors())


def test_what_counts_now_is_what_was_read_last() -> None:
    """Whoever holds the settings in force sees each change."""
    first, second = Settings(), Settings()
    held = SettingsInForce(first)
    assert held.now is first
    held.replace(second)
    assert held.now is second
