"""Decompresses a zstd stream, whole frames in several threads, with a bound on what is in memory."""

import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO, cast

import zstandard

from cachew.client import frames
from cachew.client.errors import ArchiveBroken
from cachew.client.workers import Job, Workers

_OUTPUT = 1024 * 1024


def decompressed(pieces: Iterable[bytes | memoryview], *, threads: int) -> Generator[bytes, None, None]:
    """Yield the content of a zstd stream, in order.

    :param pieces: the compressed stream, cut anywhere.
    :param threads: how many whole frames are decompressed at a time; one more may be waiting.
    :raise ArchiveBroken: when the stream is damaged or incomplete.
    """
    workers, pending = Workers(threads, "decompress"), deque[Job[bytes]]()
    try:
        for frame in frames.split(pieces):
            if isinstance(frame, frames.WholeFrame):
                pending.append(workers.submit(_inflate, frame))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            else:
                while pending:
                    yield pending.popleft().result()
                yield from _inflate_stream(frame)
        while pending:
            yield pending.popleft().result()
    finally:
        workers.close()


def _inflate(frame: frames.WholeFrame) -> bytes:
    try:
        content = zstandard.ZstdDecompressor().decompress(frame.data, max_output_size=frame.content_size)
    except zstandard.ZstdError as error:
        raise ArchiveBroken(f"the archive is damaged: {error}") from error
    if len(content) != frame.content_size:
        raise ArchiveBroken("the archive is damaged: a zstd frame is shorter than it says")
    return content


def _inflate_stream(frame: frames.StreamedFrame) -> Iterator[bytes]:
    source = _PartsFile(frame.parts)
    # stream_reader bounds its output, which decompressobj does not: a few bytes may stand for megabytes.
    reader = zstandard.ZstdDecompressor().stream_reader(cast(BinaryIO, source))
    try:
        while content := reader.read(_OUTPUT):
            yield content
    except zstandard.ZstdError as error:
        raise ArchiveBroken(f"the archive is damaged: {error}") from error
    if any(True for part in frame.parts if part) or source.rest:
        raise ArchiveBroken("the archive is damaged: a zstd frame ends early")


class _PartsFile(io.RawIOBase):
    """The parts of a frame as the file that zstandard reads from."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self.rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        if not self.rest:
            self.rest = next(self._parts, b"")
        data, self.rest = self.rest[:size], self.rest[size:]
        return data
