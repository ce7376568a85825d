"""What a client may say that it needs."""

import json

import pytest

from cachew.plumbing.errors import BadRequest, TooMany
from cachew.web.ensure import Needs, parse_needs

SHA1, SHA256 = "0123456789abcdef" * 2 + "01234567", "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("document", "needs"),
    [
        ({"refs": {"refs/heads/main": SHA1}}, Needs({"refs/heads/main": SHA1}, ())),
        ({"refs": {"refs/tags/v1": "", "refs/x": SHA256}}, Needs({"refs/tags/v1": "", "refs/x": SHA256}, ())),
        ({"commits": [SHA1, SHA256]}, Needs({}, (SHA1, SHA256))),
        ({"refs": None, "commits": [SHA1]}, Needs({}, (SHA1,))),
        ({"refs": {"refs/heads/é": ""}, "commits": None, "more": 1}, Needs({"refs/heads/é": ""}, ())),
    ],
)  # fmt: skip
def test_well_formed(document: object, needs: Needs) -> None:
    """Refs with the commit each must be at, or with none, and commits; either may be left out."""
    assert parse_needs(json.dumps(document).encode()) == needs


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"refs": {}, "commits": []},
        [],
        None,
        "refs",
        {"refs": []},
        {"refs": [], "commits": [SHA1]},
        {"refs": "", "commits": [SHA1]},
        {"refs": {"refs/heads/main": ""}, "commits": {}},
        {"refs": {"refs/heads/main": ""}, "commits": False},
        {"commits": SHA1},
        {"commits": [SHA1, None]},
        {"commits": [SHA1[:-1]]},
        {"commits": ["HEAD"]},
        {"refs": {"refs/heads/../x": ""}},
        {"refs": {"refs/heads/a b": ""}},
        {"refs": {"refs/heads/\ud800": ""}},
        {"refs": {"refs/heads/main\n": ""}},
        {"refs": {"refs/heads/main": None}},
        {"refs": {"refs/heads/main": "main"}},
        {"refs": {"refs/heads/main": SHA1[:7]}},
    ],
)
def test_malformed(document: object) -> None:
    """Anything else is refused with a reason."""
    with pytest.raises(BadRequest):
        parse_needs(json.dumps(document).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"refs": {"refs/heads/main": NaN}}'])
def test_no_json(body: bytes) -> None:
    """So is what is no JSON."""
    with pytest.raises(BadRequest):
        parse_needs(body)


@pytest.mark.parametrize(("refs", "commits"), [(0, 1001), (1001, 0), (1, 1000), (90_000, 0), (0, 90_000)])
def test_too_many_ids(refs: int, commits: int) -> None:
    """One request asks for no more than 1,000 refs and commits, whatever they are; the text says so."""
    needs = {"refs": {f"refs/heads/b{number}": "" for number in range(refs)}, "commits": [SHA1] * commits}
    with pytest.raises(TooMany, match="more than the 1000"):
        parse_needs(json.dumps(needs).encode())


def test_as_many_as_that() -> None:
    """A thousand are well."""
    assert len(parse_needs(json.dumps({"commits": [SHA1] * 1000}).encode()).commits) == 1000
