"""Grants can't be made, changed, moved or used late."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import Forbidden
from cachew.smarthttp.lfsbatch import Wanted
from cachew.smarthttp.lfsgrant import Grant, seal, unseal

OID, KEY, NOW = "a" * 64, b"k" * 32, 1000.0
GRANT = Grant("git.example/org/repo", Wanted(OID, 5), NOW + 10, "https://storage.example.com/x", (("A", "b"),))


def sealed(grant: Grant = GRANT) -> str:
    """Return a grant as a client carries it."""
    text = seal(grant, KEY)
    assert text is not None
    return text


def test_it_holds_what_it_held() -> None:
    """Its own server reads it, for its object, until its end."""
    assert unseal(sealed(), KEY, repository=GRANT.repository, oid=OID, now=NOW + 9.9) == GRANT


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
        unseal(sealed(), key, repository=repository, oid=oid, now=now)


@pytest.mark.parametrize("text", ["", ".", "x", "a.b.c", "é.é", "a.", ".a", "=" * 50, "x" * 100_000])
def test_nonsense_is_none(text: str) -> None:
    """What isn't a grant is refused like a forged one."""
    with pytest.raises(Forbidden):
        unseal(text, KEY, repository=GRANT.repository, oid=OID, now=NOW)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(place: int, bit: int) -> None:
    """A grant whose bytes are changed anywhere is none."""
    payload, _, mac = sealed().partition(".")
    parts = [bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (payload, mac)]
    part = parts[place % 2]
    part[place % len(part)] ^= 1 << bit
    changed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    with pytest.raises(Forbidden):
        unseal(changed, KEY, repository=GRANT.repository, oid=OID, now=NOW)


def test_an_unsigned_one_is_none() -> None:
    """Writing one's own grant takes the secret."""
    payload = base64.urlsafe_b64encode(json.dumps(["git.example/org/repo", OID, 5, 9e9, "http://x", []]).encode())
    for mac in (b"", base64.urlsafe_b64encode(bytes(32))):
        with pytest.raises(Forbidden):
            unseal(f"{payload.decode()}.{mac.decode()}", KEY, repository=GRANT.repository, oid=OID, now=NOW)


def test_a_long_one_is_not_made() -> None:
    """Proxies on the way refuse long headers, so such an object stays where the upstream has it."""
    assert seal(Grant(GRANT.repository, GRANT.wanted, NOW, "https://x/" + "y" * 8000, ()), KEY) is None
