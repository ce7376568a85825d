"""The pack within a response of upload-pack, put where git keeps packs (blocking: meant for a thread).

A response with side-band is a sequence of packets; those of band 1 carry the pack, whose last bytes are its own
checksum. See gitprotocol-pack(5), gitformat-pack(5).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cachew.plumbing.errors import BadRequest, CorruptObject
from cachew.plumbing.pktline import Decoder

_PIECE = 1024 * 1024
_DATA, _FATAL = 1, 3
_MAGIC = b"PACK"


def extract(file: BinaryIO, size: int, directory: Path, digest_size: int) -> Path:
    """Write the pack that a response carries into a directory.

    :param file: a file that begins with the response.
    :param size: the response's bytes.
    :param digest_size: bytes of the pack's checksum.
    :return: the pack, without an index.
    :raise CorruptObject: when the response carries none, or is damaged.
    :raise OSError: when the disk fails.
    """
    aside = directory / f"tmp_received_{os.getpid()}_{file.fileno()}"
    try:
        with aside.open("wb") as pack:
            tail = b""
            for piece in _pieces(file, size):
                pack.write(piece)
                tail = (tail + piece)[-digest_size:]
            pack.flush()
            os.fsync(pack.fileno())
            length = pack.tell()
        with aside.open("rb") as written:
            if length < len(_MAGIC) + digest_size or written.read(len(_MAGIC)) != _MAGIC:
                raise CorruptObject("a response carries no pack")
        return aside.rename(directory / f"pack-{tail.hex()}.pack")
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    decoder, position = Decoder(), 0
    try:
        while position < size:
            data = os.pread(file.fileno(), min(_PIECE, size - position), position)
            if not data:
                raise CorruptObject("a response is shorter than it was")
            position += len(data)
            for packet in decoder.feed(data):
                if not isinstance(packet, bytes) or not packet:
                    continue
                if packet[0] == _DATA:
                    yield packet[1:]
                elif packet[0] == _FATAL:
                    raise CorruptObject("a response ends in an error")
    except BadRequest as malformed:
        raise CorruptObject("a response is no sequence of packets") from malformed
