"""Is an answer of upload-pack a whole pack, fit to be kept, and is it still the same? (Blocking: meant for a thread.)

An answer with side-band is a sequence of packets; those of band 1 carry the pack, whose last bytes are its own
checksum. So an answer is outlined by looking at the packets' heads alone, 2,000 of them in 133 MB, and what was written
is recognised again by the pack's checksum and a digest of everything else. See gitprotocol-pack(5), gitformat-pack(5).
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any, BinaryIO

_DATA, _FATAL = b"\x01", b"\x03"
_ERROR = b"ERR "
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class NotWhole(Exception):
    """An answer is not a whole pack with side-band."""


@dataclass(frozen=True)
class _Packet:
    """A packet: its head, with the band in it if there is one, and how many bytes follow."""

    head: bytes
    left: int

    @property
    def is_data(self) -> bool:
        return self.head[4:] == _DATA


def outline(file: BinaryIO, size: int) -> str:
    """Digest everything of an answer but its pack.

    :param file: a file that begins with it.
    :param size: its bytes.
    :return: the SHA-256 of the packets' heads and of all packets that carry no pack data, in hexadecimal.
    :raise NotWhole: when it carries no pack data in side-band 1, carries an error (an ``ERR`` packet or side-band 3),
        or does not end with a flush packet. Answers without side-band, rounds of negotiation and listings of shallow
        commits are never whole.
    """
    digest = sha256()
    for packet in _packets(file, size):
        digest.update(packet.head)
        if packet.is_data:
            file.seek(packet.left, 1)
        else:
            digest.update(_exactly(file, packet.left))
    return digest.hexdigest()


def is_sound(file: BinaryIO, size: int, expected: str) -> bool:
    """Tell whether an answer is whole, has the outline that it had, and its pack the content that its checksum says."""
    try:
        file.seek(0)
        if outline(file, size) != expected:
            return False
        return checksum_holds(file, size)
    except NotWhole:
        return False


def checksum_holds(file: BinaryIO, size: int) -> bool:
    """Tell whether the pack in an answer has the content that its own checksum says.

    :raise NotWhole: when the answer is not whole.
    """
    return any(_checksum_holds(file, size, make) for make in (sha1, sha256))


def _checksum_holds(file: BinaryIO, size: int, make: Callable[[], Any]) -> bool:
    """Tell whether a pack ends with its checksum by one of git's hash functions."""
    digest = make()
    held = b""
    file.seek(0)
    for packet in _packets(file, size):
        data = _exactly(file, packet.left)
        if packet.is_data:
            held += data
            digest.update(held[: -digest.digest_size])
            held = held[-digest.digest_size :]
    return bool(digest.digest() == held)


def _packets(file: BinaryIO, size: int) -> Iterator[_Packet]:
    """Yield the packets of an answer; whoever takes one moves the file to the packet's end."""
    position, packed, flushed = 0, False, False
    file.seek(0)
    while position < size:
        head = _exactly(file, 4)
        if not _DIGITS.issuperset(head):
            raise NotWhole("no packet where one must be")
        length = max(int(head, 16), 4)
        flushed = head == b"0000"
        if length > 4:
            head += _exactly(file, 1)
        packed = packed or head[4:] == _DATA
        if head[4:] == _FATAL or position + length > size:
            raise NotWhole("an error, or a packet that was cut off")
        if head[4:] == _ERROR[:1] and length >= 8:
            _refuse_error(file)
        position += length
        yield _Packet(head, length - len(head))
    if not (packed and flushed):
        raise NotWhole("no pack, or no end")


def _refuse_error(file: BinaryIO) -> None:
    rest = _exactly(file, 3)
    if rest == _ERROR[1:]:
        raise NotWhole("an error")
    file.seek(-3, 1)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise NotWhole("it was cut off")
    return data


def whole_answer(path: Path, doubted: bool) -> bytes | None:
    """Return the answer in a file, None when it is no whole pack."""
    answer = path.read_bytes()
    try:
        outline(io.BytesIO(answer), len(answer))
        return None if doubted and not checksum_holds(io.BytesIO(answer), len(answer)) else answer
    except NotWhole:
        return None
