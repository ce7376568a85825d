"""Inflating an upstream's gzip response without trusting its size."""

import zlib

from cachew.plumbing.streams import PIECE, Source

_GZIP = 31
"""The ``wbits`` of zlib for a gzip stream."""


class BrokenGzip(ValueError):
    """The stream is not gzip, or ends too early."""


class GunzipSource:
    """A source over the content of a gzip stream; never holds more than one piece of either.

    :param source: the compressed stream, which it owns.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(_GZIP)
        self._compressed = b""

    async def read(self, size: int) -> bytes:
        """Return the next inflated bytes.

        :raise BrokenGzip: when the stream is damaged or broken off.
        """
        while not self._inflate.eof:
            if not self._compressed:
                self._compressed = await self._source.read(PIECE)
            ended = not self._compressed
            try:
                piece = self._inflate.decompress(self._compressed, size)
            except zlib.error as error:
                raise BrokenGzip(str(error)) from None
            self._compressed = self._inflate.unconsumed_tail
            if piece:
                return piece
            if ended and not self._inflate.eof:
                raise BrokenGzip("the gzip stream broke off")
        return b""

    def close(self) -> None:
        """Give the stream up."""
        self._source.close()
