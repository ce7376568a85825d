"""Cuts a zstd stream into its frames without decompressing it (pure).

Snapshots are made of independent frames of a few MiB, each with its content size recorded, so whole frames can be
decompressed by several threads. Frames of another make (one big frame of ``zstd``, frames without a size) come out
as streams. See RFC 8878, sections 3.1.1 and 3.1.2.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cachew.client.clienterrors import ArchiveBroken

WHOLE_LIMIT = 16 * 1024 * 1024
"""The largest content, in bytes, of a frame that is handed out whole."""
_BLOCK_LIMIT = 128 * 1024
_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A5
_SIZE_BYTES = (0, 2, 4, 8)


class WholeFrame(NamedTuple):
    """A frame that is complete in memory.

    :param data: the compressed frame.
    :param content_size: the bytes that it decompresses to.
    """

    data: bytes
    content_size: int


class StreamedFrame(NamedTuple):
    """A frame of unknown or great size; its parts must be used up before the next frame is asked for."""

    parts: Iterator[bytes]


def stored(data: memoryview, *, size: int) -> list[memoryview] | None:
    """Return the pieces of a frame's content when it lies there as it is, None when it has to be decompressed.

    What does not compress, such as packs, is stored so. The checksum at the frame's end is not looked at.

    :param data: exactly one frame, whose content may be anything.
    :param size: the bytes of its content.
    :raise ArchiveBroken: when it is not one frame, or has not that size.
    """
    reader = _ExactReader([data])
    if int.from_bytes(reader.take(4), "little") != _MAGIC:
        raise ArchiveBroken("the archive is not zstd-compressed")
    _, content_size, has_checksum = _header(reader)
    pieces, plain, last = list[memoryview](), True, False
    position, end = len(data) - reader.left, len(data) - (4 if has_checksum else 0)
    while not last:
        header = data[position : position + 3]
        last, length = _block(header)
        position += 3 + length
        if position > end:
            raise ArchiveBroken("the archive ends too early")
        plain = plain and not header[0] & 6
        pieces.append(data[position - length : position])
    if position != end or content_size not in (None, size) or (plain and sum(map(len, pieces)) != size):
        raise ArchiveBroken("the archive is damaged: its frames are not what its table says")
    return pieces if plain else None


def split(pieces: Iterable[bytes | memoryview]) -> Iterator[WholeFrame | StreamedFrame]:
    """Yield the frames of a stream, skippable ones left out.

    :raise ArchiveBroken: when the stream is not zstd or ends within a frame.
    """
    reader = _ExactReader(pieces)
    while not reader.at_end():
        magic = int.from_bytes(reader.take(4), "little")
        if magic >> 4 == _SKIPPABLE:
            reader.skip(int.from_bytes(reader.take(4), "little"))
        elif magic == _MAGIC:
            yield _frame(reader)
        else:
            raise ArchiveBroken("the archive is not zstd-compressed")


def _frame(reader: "_ExactReader") -> WholeFrame | StreamedFrame:
    header, content_size, has_checksum = _header(reader)
    parts = _blocks(reader, header, has_checksum)
    if content_size is None or content_size > WHOLE_LIMIT:
        return StreamedFrame(parts)
    # Blocks that store their content cost three bytes each, so a frame is hardly longer than what it holds.
    limit = content_size + content_size // 64 + _BLOCK_LIMIT
    collected, total = [], 0
    for part in parts:
        total += len(part)
        if total > limit:
            raise ArchiveBroken("a zstd frame is far longer than its content")
        collected.append(part)
    return WholeFrame(b"".join(collected), content_size)


def _header(reader: "_ExactReader") -> tuple[bytes, int | None, bool]:
    descriptor = reader.take(1)
    flags = descriptor[0]
    if flags & 0x08 or flags & 0x03:
        raise ArchiveBroken("the archive's zstd frames need a dictionary or a newer zstd")
    single_segment = bool(flags & 0x20)
    size_bytes = _SIZE_BYTES[flags >> 6] or (1 if single_segment else 0)
    rest = reader.take((0 if single_segment else 1) + size_bytes)
    content_size = int.from_bytes(rest[len(rest) - size_bytes :], "little") if size_bytes else None
    if size_bytes == 2 and content_size is not None:
        content_size += 256
    return _MAGIC.to_bytes(4, "little") + descriptor + rest, content_size, bool(flags & 0x04)


def _blocks(reader: "_ExactReader", header: bytes, has_checksum: bool) -> Iterator[bytes]:
    yield header
    last = False
    while not last:
        block_header = reader.take(3)
        last, size = _block(block_header)
        yield block_header + reader.take(size)
    if has_checksum:
        yield reader.take(4)


def _block(header: bytes | memoryview) -> tuple[bool, int]:
    """Return whether a block is the last one, and how many bytes follow its header."""
    word = int.from_bytes(header, "little")
    kind, size = word >> 1 & 3, word >> 3
    if kind == 3 or size > _BLOCK_LIMIT:
        raise ArchiveBroken("the archive holds a broken zstd block")
    return bool(word & 1), 1 if kind == 1 else size


class _ExactReader:
    """Takes exact numbers of bytes from pieces of any size."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._view = memoryview(b"")

    @property
    def left(self) -> int:
        """How many bytes of the current piece are left."""
        return len(self._view)

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        while not self._view:
            piece = next(self._pieces, None)
            if piece is None:
                return True
            self._view = memoryview(piece)
        return False

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        if count <= len(self._view):
            return bytes(self._advance(count))
        taken = bytearray()
        while len(taken) < count:
            if self.at_end():
                raise ArchiveBroken("the archive ends too early")
            taken += self._advance(min(count - len(taken), len(self._view)))
        return bytes(taken)

    def skip(self, count: int) -> None:
        """Drop the next ``count`` bytes."""
        while count:
            if self.at_end():
                raise ArchiveBroken("the archive ends too early")
            count -= len(self._advance(min(count, len(self._view))))

    def _advance(self, count: int) -> memoryview:
        part, self._view = self._view[:count], self._view[count:]
        return part
