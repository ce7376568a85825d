"""Judges the pack in an answer to a fetch (pure)."""

import hashlib
import struct
from dataclasses import dataclass

from scripts.benchmarks.exchange import dechunked


@dataclass(frozen=True)
class Pack:
    """What an answer contained.

    :param data: the whole pack.
    :param objects: how many objects its header announces.
    """

    data: bytes
    objects: int


def pack_in(answer: bytes, *, chunked: bool) -> Pack:
    """Take the pack out of a v2 answer and check its checksum.

    :param answer: the body as it came.
    :param chunked: whether it came in chunks.
    :raise ValueError: when there is no whole pack in it.
    """
    if chunked:
        whole = dechunked(answer)
        if whole is None:
            raise ValueError("the last chunk is missing")
        answer = whole[0]
    pieces = []
    at = 0
    while at < len(answer):
        size = int(answer[at : at + 4], 16)
        if size > 4 and answer[at + 4 : at + 5] == b"\x01":
            pieces.append(answer[at + 5 : at + size])
        elif size > 4 and answer[at + 4 : at + 5] == b"\x03":
            raise ValueError(f"the server said: {answer[at + 5 : at + size]!r}")
        at += max(size, 4)
    data = b"".join(pieces)
    if data[:4] != b"PACK" or len(data) < 32:
        raise ValueError(f"no pack in {answer[:100]!r}")
    if hashlib.sha1(data[:-20]).digest() != data[-20:]:
        raise ValueError("the pack's checksum is wrong")
    return Pack(data, struct.unpack(">I", data[8:12])[0])
