"""The compressed form of every archive: independent zstd frames with a table of where each one lies (pure).

A reader that knows the table fetches and decompresses parts in parallel; any other zstd reads the whole as one stream,
because the table is a skippable frame. See "Zstandard Seekable Format" in zstd's contrib/seekable_format. Every frame
records the size of its content and a checksum of it. No Twisted here: the command line reads archives too.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Union

FRAME_SIZE = 1024 * 1024
"""How much content goes into one frame, in bytes."""

LEVEL = 3
"""For what compresses."""

PACKED_LEVEL = -1
"""For what is compressed already (packs, LFS objects): 2 % larger at a fraction of the CPU."""

FOOTER_SIZE = 9
"""The last bytes of an archive, from which the table's length follows."""

_SKIPPABLE_MAGIC = 0x184D2A5E
_FOOTER_MAGIC = 0x8F92EAB1
_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")
_CHECKSUMS = 0x80
_RESERVED = 0x7C


class BadSeekTable(ValueError):
    """The end of an archive claims to be a table and isn't one."""


class Frame(NamedTuple):
    """One independent part of an archive.

    :param offset: where it starts in the archive, in bytes.
    :param length: how many bytes it has there.
    :param start: where its content starts in the decompressed stream.
    :param size: how many bytes its content has.
    """

    offset: int
    length: int
    start: int
    size: int


class FramePart(NamedTuple):
    """A part of a file that goes into a frame.

    :param path: the file; it is never followed when it is a symbolic link.
    """

    path: Path
    offset: int
    length: int

    def read_into(self, target: memoryview) -> None:
        """Put the region into memory of its length (blocking).

        :raise EOFError: when the file is shorter.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            position = 0
            while position < self.length:
                count = os.preadv(descriptor, [target[position:]], self.offset + position)
                if not count:
                    raise EOFError(f"{self.path.name} shrank while it was read")
                position += count
        finally:
            os.close(descriptor)


Segment = Union[bytes, memoryview, FramePart]  # noqa: UP007 (the client runs on Python 3.9 too)
"""What a frame is made of."""


def segment_size(segment: Segment) -> int:
    """Return how many bytes of content a segment has."""
    return segment.length if isinstance(segment, FramePart) else len(segment)


def into_frames(segments: Iterable[Segment], limit: int = FRAME_SIZE) -> Iterator[list[Segment]]:
    """Cut a stream of segments into lists of ``limit`` bytes each; the last one may be shorter."""
    frame: list[Segment] = []
    room = limit
    for whole in segments:
        rest: Segment | None = whole
        while rest is not None:
            part, rest = _cut(rest, room)
            frame.append(part)
            room -= segment_size(part)
            if not room:
                yield frame
                frame, room = [], limit
    if frame:
        yield frame


def _cut(segment: Segment, size: int) -> tuple[Segment, Segment | None]:
    if segment_size(segment) <= size:
        return segment, None
    if not isinstance(segment, FramePart):
        return segment[:size], segment[size:]
    rest = FramePart(segment.path, segment.offset + size, segment.length - size)
    return FramePart(segment.path, segment.offset, size), rest


def encode_table(frames: Sequence[tuple[int, int]]) -> bytes:
    """Make the table that ends an archive.

    :param frames: length and content size of each frame, in order.
    """
    body = b"".join(_ENTRY.pack(length, size) for length, size in frames)
    body += _FOOTER.pack(len(frames), 0, _FOOTER_MAGIC)
    return _HEADER.pack(_SKIPPABLE_MAGIC, len(body)) + body


def table_length(footer: bytes) -> int | None:
    """Tell from the last bytes of an archive how long its table is.

    :param footer: at least the last :data:`FOOTER_SIZE` bytes.
    :return: the length of the whole skippable frame in bytes; None when the archive has no table.
    """
    if len(footer) < FOOTER_SIZE:
        return None
    count, descriptor, magic = _FOOTER.unpack(footer[-FOOTER_SIZE:])
    if magic != _FOOTER_MAGIC or descriptor & _RESERVED:
        return None
    return _HEADER.size + int(count) * _entry_size(descriptor) + FOOTER_SIZE


def decode_table(table: bytes) -> tuple[Frame, ...]:
    """Read a table.

    :param table: the last :func:`table_length` bytes of an archive.
    :raise BadSeekTable: when it is none.
    """
    if table_length(table) != len(table):
        raise BadSeekTable("the length of the seek table doesn't fit its number of frames")
    magic, length = _HEADER.unpack_from(table)
    if magic != _SKIPPABLE_MAGIC or length != len(table) - _HEADER.size:
        raise BadSeekTable("the seek table isn't a skippable frame")
    step = _entry_size(table[-5])
    entries = [_ENTRY.unpack_from(table, at) for at in range(_HEADER.size, len(table) - FOOTER_SIZE, step)]
    offsets = accumulate((length for length, _ in entries), initial=0)
    starts = accumulate((size for _, size in entries), initial=0)
    placed = zip(entries, offsets, starts)  # noqa: B905 (Python 3.9)
    return tuple(Frame(offset, length, start, size) for (length, size), offset, start in placed)


def _entry_size(descriptor: int) -> int:
    return _ENTRY.size + (4 if descriptor & _CHECKSUMS else 0)


def decompress(data: bytes, size: int) -> bytes:
    """Decompress one frame (blocking).

    :param size: of the content, as the table has it; a frame that says otherwise is refused before memory is taken.
    :raise ValueError: when the frame is broken or of another size.
    """
    import zstandard  # which a client that only reads tables may not have

    try:
        if zstandard.frame_content_size(data) != size:
            raise ValueError("a frame's content size differs from the seek table")
        content: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"a frame doesn't decompress: {error}") from error
    if len(content) != size:
        raise ValueError("a frame ends early")
    return content
