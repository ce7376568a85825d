"""Which answers of upload-pack are whole packs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.plumbing.streams import read_all
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.packcheck import PackCheck

pytestmark = pytest.mark.timeout(30)
DATA, PROGRESS, KEEPALIVE = b"\x01PACK" + bytes(60000), b"\x02Counting", b"\x01"
GOOD: list[Packet] = [b"acknowledgments\n", b"ready\n", DELIM, b"packfile\n", PROGRESS, DATA, KEEPALIVE, DATA, FLUSH]


def judge(*pieces: bytes) -> bool:
    check = PackCheck()
    for piece in pieces:
        check.feed(piece)
    return check.complete


@given(st.lists(st.integers(0, len(encode_all(GOOD))), max_size=5))
def test_any_split(cuts: list[int]) -> None:
    """A whole answer is recognised wherever its pieces are cut, and not before its end."""
    whole = encode_all(GOOD)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert judge(*pieces)
    assert not judge(*pieces, b"0")


@given(st.integers(0, len(encode_all(GOOD)) - 1))
def test_truncated(length: int) -> None:
    """No proper beginning of an answer passes for a whole one."""
    assert not judge(encode_all(GOOD)[:length])


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
    assert not judge(encode_all(packets))


@pytest.mark.parametrize("answer", [b"0008NAK\nPACK\x00\x00\x00\x02", b"<html>", b"", b"00", b"0003"])
def test_other_forms(answer: bytes) -> None:
    """A pack without side-band, or something else altogether, is not kept."""
    assert not judge(answer)


@pytest.mark.parametrize(
    ("protocol", "lines", "whole"),
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
    backend: Backend, repository: Path, git: Any, protocol: str | None, lines: list[Packet], whole: bool
) -> None:
    """The real upload-pack's answers are judged rightly in both protocols."""
    head = git("-C", str(repository), "rev-parse", "HEAD").encode()
    body = encode_all(line.replace(b"%s", head) if isinstance(line, bytes) else line for line in lines)
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol=protocol)
    assert judge(await read_all(answer.source, 1 << 20)) is whole
