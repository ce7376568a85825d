"""Taking over the downloads of a batch, and nothing else of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.upstream.lfsbatch import LONGEST, USUAL, Address, LfsDownload, WantedObject, take_over, wanted_in

OID, OTHER = "a" * 64, "b" * 64
NOW = 1_700_000_000.0
REQUEST = {"operation": "download", "transfers": ["lfs-standalone-file", "basic"], "objects": [{"oid": OID, "size": 5}]}
WANTED = frozenset({WantedObject(OID, 5)})


def entry(action: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    """Return the answer's entry for the object."""
    download = {"href": "https://storage.example.com/x?sig=1", "header": {"X-Key": "v"}} | (action or {})
    return {"oid": OID, "size": 5, "actions": {"download": download}} | more


def taken(answer: object, wanted: frozenset[WantedObject] = WANTED) -> tuple[Any, list[LfsDownload]]:
    """Return the changed answer, None when it stays, and what could be taken over."""
    seen: list[LfsDownload] = []

    def address_of(download: LfsDownload) -> Address:
        seen.append(download)
        return Address("https://cachew.example/x", {"X-Cachew-Grant": "g"}, True)

    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    changed = take_over(body, wanted=wanted, now=NOW, address_of=address_of)
    return (None if changed is None else json.loads(changed)), seen


def test_downloads_are_wanted() -> None:
    """A download batch that takes the basic transfer names what it wants."""
    assert wanted_in(json.dumps(REQUEST).encode()) == WANTED
    without = {name: value for name, value in REQUEST.items() if name != "transfers"}
    assert wanted_in(json.dumps(without).encode()) == WANTED


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"operation": "download"}',
        json.dumps(REQUEST | {"operation": "upload"}).encode(),
        json.dumps(REQUEST | {"transfers": ["ssh"]}).encode(),
        json.dumps(REQUEST | {"hash_algo": "sha512"}).encode(),
        json.dumps(REQUEST | {"objects": [{"oid": "../x", "size": 1}, {"oid": OID, "size": -1}, 7, None]}).encode(),
        json.dumps(REQUEST | {"objects": [{"oid": OID, "size": True}, {"oid": OID.upper(), "size": 1}]}).encode(),
    ],
)  # fmt: skip
def test_anything_else_is_not(body: bytes) -> None:
    """Other operations, transfers, hashes and nonsense pass on as they are."""
    assert wanted_in(body) == frozenset()


def test_an_address_is_changed() -> None:
    """The address and what to show there are ours, all else is the upstream's."""
    answer, (download,) = taken({"transfer": "basic", "objects": [entry(), {"oid": OTHER, "size": 1}], "more": 1})
    assert download == LfsDownload(
        WantedObject(OID, 5), "https://storage.example.com/x?sig=1", (("X-Key", "v"),), USUAL
    )
    action = {"href": "https://cachew.example/x", "header": {"X-Cachew-Grant": "g"}, "expires_in": USUAL}
    changed = {"oid": OID, "size": 5, "actions": {"download": action}, "authenticated": True}
    assert answer == {"transfer": "basic", "objects": [changed, {"oid": OTHER, "size": 1}], "more": 1}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"expires_in": 60}, 60),
        ({"expires_in": 10**6}, LONGEST),
        ({"expires_in": 60, "expires_at": "2000-01-01T00:00:00Z"}, 60),
        ({"expires_at": "2023-11-14T22:14:20Z"}, 60),
        ({"expires_at": "2023-11-15T00:14:20.123456789+02:00"}, 60.123456),
        ({"expires_at": "2023-11-14T22:14:20"}, 60),
        ({"expires_at": "0001-01-01T00:00:00Z"}, USUAL),
        ({"expires_at": "", "expires_in": 0}, USUAL),
    ],
)
def test_it_is_good_no_longer_than_the_upstreams(said: dict[str, object], seconds: float) -> None:
    """What the upstream says of the time, up to a bound; git-lfs is told the same."""
    answer, (download,) = taken({"objects": [entry(said)]})
    assert download.seconds == pytest.approx(seconds, abs=1e-4)
    action = answer["objects"][0]["actions"]["download"]
    assert action["expires_in"] == int(seconds) and "expires_at" not in action


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{", b"7", b'{"objects": 7}', b"[" * 100_000,
        {"transfer": "tus", "objects": [entry()]},
        {"hash_algo": "sha512", "objects": [entry()]},
        {"objects": [entry(oid=OTHER)]},
        {"objects": [entry(size=6)]},
        {"objects": [entry(error={"code": 404})]},
        {"objects": [entry(actions=7)]},
        {"objects": [entry(actions={"download": 7})]},
        {"objects": [entry(actions={"upload": {"href": "https://x"}})]},
        {"objects": [entry({"href": None})]},
        {"objects": [entry({"header": {"X": "a\r\nY: b"}})]},
        {"objects": [entry({"header": {"X Y": "a"}})]},
        {"objects": [entry({"header": {"X": 7}})]},
        {"objects": [entry({"header": 7})]},
        {"objects": [entry({"expires_in": -1})]},
        {"objects": [entry({"expires_in": "soon"})]},
        {"objects": [entry({"expires_at": "soon"})]},
        {"objects": [entry({"expires_at": "2000-01-01T00:00:00Z"})]},
    ],
)  # fmt: skip
def test_what_can_not_be_taken_over_stays(answer: object) -> None:
    """What wasn't asked for, is refused, has expired or makes no sense stays as the upstream said it."""
    changed, _ = taken(answer)
    assert changed is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from([OID, 5]),
    lambda some: (
        st.lists(some)
        | st.dictionaries(
            st.sampled_from(["oid", "size", "actions", "download", "href", "header", "expires_in", "expires_at"]), some
        )
    ),
)


@pytest.mark.no_cover
@given(answer=st.fixed_dictionaries({"objects": _JSON}))
def test_no_answer_breaks_it(answer: object) -> None:
    """Whatever an upstream answers, it is taken over or stays."""
    taken(answer)
    wanted_in(json.dumps(answer).encode())
