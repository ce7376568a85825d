"""What a client may say that it needs."""

import json

import pytest

from cachew.plumbing.errors import BadRequest
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
