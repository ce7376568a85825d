"""Decompresses a zstd stream, whole frames in several threads, with a bound on what is in memory."""

import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO, cast

from cachew.client import frames, zstd
from cachew.client.clienterrors import ArchiveBroken
from cachew.client.workers import Job, Workers


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
    return zstd.inflate(frame.data, size=frame.content_size)


def _inflate_stream(frame: frames.StreamedFrame) -> Iterator[bytes]:
    source = _PartsFile(frame.parts)
    yield from zstd.inflate_stream(cast(BinaryIO, source))
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
