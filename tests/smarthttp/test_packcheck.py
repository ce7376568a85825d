"""Which answers of upload-pack are whole packs."""

from collections.abc import Callable
from hashlib import sha1, sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.plumbing.streams import read_all
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.packcheck import NotWhole, is_sound, outline

pytestmark = pytest.mark.timeout(30)
DATA, PROGRESS, KEEPALIVE = b"\x01PACK" + bytes(60000), b"\x02Counting", b"\x01"
GOOD: list[Packet] = [b"acknowledgments\n", b"ready\n", DELIM, b"packfile\n", PROGRESS, DATA, KEEPALIVE, DATA, FLUSH]


def whole(answer: bytes) -> bool:
    try:
        outline(BytesIO(answer + b"trailer"), len(answer))
    except NotWhole:
        return False
    return True


def good(make: Callable[[bytes], Any]) -> bytes:
    """A whole answer whose pack ends with its checksum."""
    pack = b"PACK" + bytes(100)
    pack += make(pack).digest()
    data: list[Packet] = [b"\x01" + pack[:50], KEEPALIVE, PROGRESS, b"\x01" + pack[50:110], b"\x01" + pack[110:]]
    return encode_all([b"acknowledgments\n", b"ready\n", DELIM, b"packfile\n", *data, FLUSH])


@given(st.integers(0, len(encode_all(GOOD)) - 1))
def test_truncated(length: int) -> None:
    """A whole answer is recognised, and no proper beginning of one, nor one with more after it."""
    answer = encode_all(GOOD)
    assert whole(answer)
    assert not whole(answer[:length])
    assert not whole(answer + b"0")


@given(make=st.sampled_from([sha1, sha256]), data=st.data())
def test_changed(make: Callable[[bytes], Any], data: st.DataObject) -> None:
    """An answer is sound as it was written, and no longer when any byte of it is another."""
    answer = good(make)
    expected = outline(BytesIO(answer), len(answer))
    assert is_sound(BytesIO(answer), len(answer), expected)
    place, other = data.draw(st.integers(0, len(answer) - 1)), data.draw(st.integers(1, 255))
    changed = bytearray(answer)
    changed[place] ^= other
    assert not is_sound(BytesIO(changed), len(answer), expected)


@pytest.mark.parametrize(
    "packets",
    [
        [b"ERR upload-pack: not our ref"],
        [b"ERR upload-pack: not our ref", FLUSH],
        [b"packfile\n", DATA, b"\x03pack-objects died", FLUSH],
        [b"packfile\n", DATA, b"ERR late", FLUSH],
        [b"acknowledgments\n", b"NAK\n", FLUSH],
        [b"shallow " + b"a" * 40, FLUSH],
        [FLUSH],
        [b"packfile\n", PROGRESS, FLUSH],
    ],
)
def test_not_kept(packets: list[Packet]) -> None:
    """Errors, rounds of negotiation and answers without a pack are not whole packs."""
    assert not whole(encode_all(packets))


@pytest.mark.parametrize("answer", [b"0008NAK\nPACK\x00\x00\x00\x02", b"<html>", b"", b"00", b"0003"])
def test_other_forms(answer: bytes) -> None:
    """A pack without side-band, or something else altogether, is not kept."""
    assert not whole(answer)


@pytest.mark.parametrize(
    ("protocol", "lines", "kept"),
    [
        ("version=2", [b"command=fetch", DELIM, b"want %s", b"done", FLUSH], True),
        ("version=2", [b"command=fetch", DELIM, b"want %s", b"deepen 1", b"done", FLUSH], True),
        ("version=2", [b"command=fetch", DELIM, b"want %s", b"have " + b"1" * 40, FLUSH], False),
        (None, [b"want %s side-band-64k", FLUSH, b"done"], True),
        (None, [b"want %s side-band-64k", b"deepen 1", FLUSH, b"done"], True),
        (None, [b"want %s side-band-64k", b"deepen 1", FLUSH], False),
        (None, [b"want %s", FLUSH, b"done"], False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_real_answers(
    backend: Backend, repository: Path, git: Any, protocol: str | None, lines: list[Packet], kept: bool
) -> None:
    """The real upload-pack's answers are judged rightly in both protocols."""
    head = git("-C", str(repository), "rev-parse", "HEAD").encode()
    body = encode_all(line.replace(b"%s", head) if isinstance(line, bytes) else line for line in lines)
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol=protocol)
    assert whole(await read_all(answer.source, 1 << 20)) is kept
