"""Grants can't be made, changed, moved or used late."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import Forbidden, Unauthorized
from cachew.smarthttp.lfsgrant import Grant, holder_of, seal, unseal
from cachew.upstream.lfsbatch import WantedObject

OID, KEY, NOW = "a" * 64, b"k" * 32, 1000.0
ALICE, BOB = "Basic alice", "Basic bob\ncookie: o=1"
GRANT = Grant(
    "git.example/org/repo",
    "one",
    holder_of(ALICE, KEY),
    WantedObject(OID, 5),
    NOW + 10,
    "https://storage.example.com/x",
    (("A", "b"),),
)


def sealed(grant: Grant = GRANT) -> str:
    """Return a grant as a client carries it."""
    text = seal(grant, KEY)
    assert text is not None
    return text


def opened(text: str | None = None, *, key: bytes = KEY, **changed: Any) -> Grant:
    """Return what a client gets out of a grant."""
    shown: dict[str, Any] = {
        "repository": GRANT.repository,
        "instance": "one",
        "credential": ALICE,
        "oid": OID,
        "now": NOW + 9.9,
    }
    return unseal(sealed() if text is None else text, key, **(shown | changed))


def test_it_holds_what_it_held() -> None:
    """Its own server reads it, for its object, until its end."""
    assert opened() == GRANT


@pytest.mark.parametrize("credential", [BOB, "Basic alic", "Basic alice\ncookie: o=1", ""])
def test_it_is_for_whom_it_was_given_to(credential: str) -> None:
    """Another's credential makes nothing of it."""
    with pytest.raises(Forbidden, match="another client"):
        opened(credential=credential)


def test_it_needs_the_credential_that_it_was_given_to() -> None:
    """Whoever shows nothing is asked for credentials, so that git-lfs shows them."""
    with pytest.raises(Unauthorized) as caught:
        opened(credential=None)
    assert caught.value.challenge.startswith("Basic ")


def test_what_nobody_was_given_is_for_nobody_else() -> None:
    """A grant of whoever showed nothing is not for those who show something."""
    text = sealed(replace(GRANT, holder=holder_of(None, KEY)))
    assert opened(text, credential=None).holder == ""
    with pytest.raises(Forbidden, match="another client"):
        opened(text)


def test_it_is_for_one_instance() -> None:
    """A repository that was made anew under the same name has no use for it."""
    with pytest.raises(Forbidden, match="expired"):
        opened(instance="two")


@pytest.mark.parametrize(
    ("key", "repository", "oid", "now"),
    [
        (b"x" * 32, GRANT.repository, OID, NOW),
        (KEY, "git.example/org/other", OID, NOW),
        (KEY, "git.example2/org/repo", OID, NOW),
        (KEY, GRANT.repository, "b" * 64, NOW),
        (KEY, GRANT.repository, OID, NOW + 10),
    ],
)
def test_it_is_for_one_object_for_a_while(key: bytes, repository: str, oid: str, now: float) -> None:
    """Another server, repository, object or time has no use for it."""
    with pytest.raises(Forbidden):
        opened(key=key, repository=repository, oid=oid, now=now)


@pytest.mark.parametrize("text", ["", ".", "x", "a.b.c", "é.é", "a.", ".a", "=" * 50, "x" * 100_000])
def test_nonsense_is_none(text: str) -> None:
    """What isn't a grant is refused like a forged one."""
    with pytest.raises(Forbidden):
        opened(text)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(place: int, bit: int) -> None:
    """A grant whose bytes are changed anywhere is none."""
    payload, _, mac = sealed().partition(".")
    parts = [bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (payload, mac)]
    part = parts[place % 2]
    part[place % len(part)] ^= 1 << bit
    changed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    with pytest.raises(Forbidden):
        opened(changed)


def test_an_unsigned_one_is_none() -> None:
    """Writing one's own grant takes the secret."""
    payload = base64.urlsafe_b64encode(json.dumps(["git.example/org/repo", OID, 5, 9e9, "http://x", []]).encode())
    for mac in (b"", base64.urlsafe_b64encode(bytes(32))):
        with pytest.raises(Forbidden):
            opened(f"{payload.decode()}.{mac.decode()}")


def test_a_long_one_is_not_made() -> None:
    """Proxies on the way refuse long headers, so such an object stays where the upstream has it."""
    assert seal(replace(GRANT, href="https://x/" + "y" * 8000), KEY) is None
