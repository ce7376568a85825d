"""The memory in which frames are made, one after another.

A server has many threads, and the heap of each would keep what the largest frame needed. This memory is the system's
own, is used for every frame of an archive, and is the system's again when the archive is made.
"""

from collections.abc import Iterator, Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import IO, cast

import zstandard

from cachew.plumbing.tarzst import FramePart, Segment

_PIECE = 256 * 1024


class Workspace:
    """Room for one frame and its content; used by one thread at a time.

    :param frame_size: the most bytes of content.
    :ivar size: how many bytes of content there are.
    :ivar length: how many bytes the frame has.
    """

    def __init__(self, frame_size: int) -> None:
        self._frame_size = frame_size
        self._content = mmap(-1, frame_size, MAP_PRIVATE | MAP_ANONYMOUS)
        self._frame = mmap(-1, _longest(frame_size), MAP_PRIVATE | MAP_ANONYMOUS)
        self._compressor: tuple[int, zstandard.ZstdCompressor] | None = None
        self.size = self.length = 0

    @property
    def room(self) -> int:
        """How many more bytes of content fit in."""
        return self._frame_size - self.size

    def clear(self) -> None:
        """Begin another frame."""
        self.size = self.length = 0

    def put(self, data: bytes | memoryview) -> None:
        """Add content, for which there must be room."""
        self._content[self.size : self.size + len(data)] = data
        self.size += len(data)

    def compress(self, segments: Sequence[Segment], level: int) -> None:
        """Add the last of the content and make the frame (blocking: meant for a thread).

        :param segments: what else is in it.
        :raise EOFError: when a file is shorter than its region.
        """
        for segment in segments:
            if isinstance(segment, FramePart):
                self._put_region(segment)
            else:
                self.put(segment)
        self._frame.seek(0)
        compressor, target = self._compressor_of(level), cast(IO[bytes], self._frame)
        stream = compressor.stream_writer(target, size=self.size, closefd=False)
        with memoryview(self._content) as whole, whole[: self.size] as content:
            stream.write(content)
        stream.flush(zstandard.FLUSH_FRAME)
        self.length = self._frame.tell()

    def _put_region(self, region: FramePart) -> None:
        with memoryview(self._content) as whole, whole[self.size : self.size + region.length] as target:
            region.read_into(target)
        self.size += region.length

    def _compressor_of(self, level: int) -> zstandard.ZstdCompressor:
        if self._compressor is None or self._compressor[0] != level:
            made = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
            self._compressor = level, made
        return self._compressor[1]

    def frame(self) -> Iterator[bytes]:
        """Give the frame in pieces."""
        for start in range(0, self.length, _PIECE):
            yield self._frame[start : min(start + _PIECE, self.length)]


def _longest(size: int) -> int:
    """Return how many bytes a frame may have whose content doesn't compress: more than ``ZSTD_COMPRESSBOUND``."""
    return size + size // 256 + 1024
