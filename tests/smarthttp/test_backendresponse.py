"""Headers of CGI programs, and what comes after them."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import read_all
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.backendresponse import MAX_HEADER, CgiHead, HeadParser
from tests.smarthttp.test_backend import fetch

pytestmark = pytest.mark.timeout(60)
MISSING = "1" * 40
WHOLE = b"Status: 404 Not Found\r\nContent-Type: text/plain\r\nX-Empty:\r\n\r\nbody\r\n\r\nmore"
HEAD = CgiHead(404, (("content-type", "text/plain"), ("x-empty", "")), b"body\r\n\r\nmore")


@given(st.integers(1, len(WHOLE) - 1))
def test_any_split(at: int) -> None:
    """A header is read alike wherever its pieces are cut."""
    parser = HeadParser()
    first = parser.feed(WHOLE[:at])
    if first is None:
        first = parser.feed(WHOLE[at:])
        assert first == HEAD
    else:
        assert (first.status, first.headers) == (HEAD.status, HEAD.headers)
        assert first.rest + WHOLE[at:] == HEAD.rest


def test_bare_newlines_and_no_status() -> None:
    """Lines may end without a carriage return, and the status is 200 unless it is named."""
    assert HeadParser().feed(b"A: b\nC:  d e \n\n") == CgiHead(200, (("a", "b"), ("c", "d e")), b"")


@pytest.mark.parametrize(
    "data",
    [
        b"no colon\r\n\r\n",
        b": value\r\n\r\n",
        b"A b: c\r\n\r\n",
        b"A: b\r\n folded\r\n\r\n",
        b"A: b\rC: d\r\n\r\n",
        b"A: \x00\r\n\r\n",
        b"Status: 99 Low\r\n\r\n",
        b"Status: 2000\r\n\r\n",
        b"Status: ok\r\n\r\n",
        b"A: " + b"x" * MAX_HEADER,
        b"A: " + b"x" * MAX_HEADER + b"\r\n\r\n",
    ],
)
def test_refused(data: bytes) -> None:
    """Malformed and endless headers are refused."""
    with pytest.raises(BadRequest):
        HeadParser().feed(data)


@pytest.mark.parametrize(
    ("body", "protocol"),
    [
        (fetch(f"want {MISSING}", "done"), "version=2"),
        (encode_all([f"want {MISSING} side-band-64k".encode(), FLUSH, b"done"]), None),
        (fetch(f"want {MISSING}", "have " + "2" * 40), "version=2"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refusal_can_be_seen_first(backend: Backend, repository: Path, body: bytes, protocol: str | None) -> None:
    """That the mirror lacks an object is known before a byte is sent, and the answer can still be read whole."""
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol=protocol)
    refusal = await answer.refusal()
    assert refusal == f"upload-pack: not our ref {MISSING}"
    sent = await read_all(answer.source, 1000)
    assert sent[4:8] == b"ERR " and MISSING.encode() in sent


@pytest_twisted.ensureDeferred
async def test_a_depth_that_cuts_nothing_off_is_no_refusal(backend: Backend, repository: Path, git: Any) -> None:
    """In protocol v0 the answer to a depth beyond the whole history begins with a list of nothing."""
    head = git("-C", str(repository), "rev-parse", "HEAD")
    body = encode_all([f"want {head} side-band-64k".encode(), b"deepen 1000", FLUSH, b"done"])
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol=None)
    assert await answer.refusal() is None
    sent = await read_all(answer.source, 1 << 20)
    assert sent.startswith(b"0000") and b"PACK" in sent


@pytest_twisted.ensureDeferred
async def test_unknown_command_is_a_refusal(backend: Backend, repository: Path) -> None:
    """A command that this git does not know is refused without a word."""
    body = encode_all([b"command=mystery", FLUSH])
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
    assert "mystery" in str(await answer.refusal())


@pytest_twisted.ensureDeferred
async def test_no_repository(backend: Backend, tmp_path: Path) -> None:
    """A directory that is no repository gives 404, which is a refusal too."""
    answer = await backend.info_refs(repository="r", directory=tmp_path / "none", protocol=None)
    assert answer.status == 404
    assert await answer.refusal() == "status 404"
    assert await read_all(answer.source, 1000) == b""
