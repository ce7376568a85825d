"""Headers of strangers become text, or a refusal."""

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from cachew.http.headertext import Fields, text_of
from cachew.http.requests import StreamingRequest
from cachew.plumbing.errors import BadRequest
from tests.http.wire import serving


@given(st.binary(max_size=30))
def test_text_can_be_sent_on_as_it_came(value: bytes) -> None:
    """What is taken for text has one character for each byte; whatever else there is, is refused."""
    try:
        assert text_of("Git-Protocol", [value]).encode("latin-1") == value
    except BadRequest:
        assert not value.isascii()


@pytest.mark.parametrize("value", [b"version=2\xff", b"\xff", b"caf\xe9", b"\xc3"])
def test_what_is_no_text_is_a_bad_request(value: bytes) -> None:
    """Bytes that are not UTF-8 are refused by name, in any header but those whose values may be anything."""
    with pytest.raises(BadRequest, match="Content-Encoding is not text"):
        text_of("Content-Encoding", [value])
    assert text_of("Cookie", [b"a=1", value]) == f"a=1; {value.decode('latin-1')}"
    assert text_of("if-none-match", [value]) == value.decode("latin-1")


def test_values_are_joined() -> None:
    """A header that is sent twice says both."""
    assert text_of("Accept", [b"a", b"b"]) == "a, b"


def test_only_what_is_looked_at_is_refused() -> None:
    """A request is not refused for a header that nobody reads."""
    fields = Fields([(b"X-Strange", [b"\xff"]), (b"Accept", [b"a", b"b"])])
    assert fields["accept"] == "a, b" and "x-strange" in fields and len(fields) == 2
    assert fields.get("missing") is None
    with pytest.raises(BadRequest):
        fields.get("x-strange")


@pytest_twisted.ensureDeferred
async def test_a_handler_reads_a_header() -> None:
    """Reading gives text, nothing, or the refusal; Twisted's own way, which fails on other bytes, is not used."""
    seen: list[object] = []

    async def read(request: StreamingRequest) -> None:
        seen.extend((request.getHeader("accept"), request.getHeader("missing"), request.fields["accept"]))
        with pytest.raises(BadRequest):
            request.getHeader("git-protocol")
        request.setHeader(b"Content-Length", b"0")
        request.write(b"")

    async with serving(read) as server:
        client = await server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept: \xc3\xa9\r\nGit-Protocol: version=2\xff\r\n\r\n")
        assert (await client.response()).status == 200
    assert seen == ["\xc3\xa9", None, "\xc3\xa9"]
