"""What a client proves itself with is one text."""

from collections.abc import Mapping

import pytest

from cachew.upstream.headers import of_credential
from cachew.web.access.guard import credential_of


def of(headers: Mapping[str, str], *names: str) -> str | None:
    return credential_of(headers.get, names)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic eDp5"},
        {"authorization": ""},
        {"cookie": "o=git-user.example=1//a:b; p=2"},
        {"authorization": "Bearer x", "cookie": "o=1", "x-key": "a: b\xe9"},
        {"x-key": "1"},
    ],
)
def test_what_is_shown_is_shown_again(headers: Mapping[str, str]) -> None:
    """The headers that made it come out of it, and no others."""
    shown = {
        name.decode().lower(): value.decode("latin-1") for name, value in of_credential(of(headers, "cookie", "x-key"))
    }
    assert shown == headers


def test_only_what_is_named_counts() -> None:
    """Other headers are nobody's credential, and Authorization always is one."""
    assert of({"cookie": "o=1"}) is None and of({"x-key": ""}, "x-key") is None
    assert of({"authorization": "Basic x", "cookie": "o=1"}) == "Basic x"
    assert of_credential(None) == []


def test_any_two_credentials_differ() -> None:
    """The same value in another header, or beside another one, is another credential."""
    pairs: list[dict[str, str]] = [
        {"authorization": "a"}, {"cookie": "a"}, {"x-key": "a"}, {"authorization": "a", "cookie": "a"},
        {"authorization": "a", "x-key": "a"}, {"cookie": "a", "x-key": "a"}, {"authorization": ""},
    ]  # fmt: skip
    assert len({of(one, "cookie", "x-key") for one in pairs}) == len(pairs)
