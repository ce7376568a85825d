"""Request bodies inflated as they come, with bounds, so that no child process is handed a bomb."""

import zlib
from collections.abc import Callable

from cachew.plumbing.errors import BadRequest, TooLarge, UnsupportedEncoding
from cachew.plumbing.streams import PIECE, Source

_FREE = 1024 * 1024
_RATIO = 200
"""Git's own requests are hex and shrink to a third; what inflates beyond this after the first MiB is no request."""


async def copy_inflated(source: Source, write: Callable[[bytes], object], *, encoding: str | None, limit: int) -> None:
    """Read a request body to its end and write what it says, inflated.

    :param write: takes the next bytes.
    :param encoding: the ``Content-Encoding`` header: ``gzip``, ``x-gzip``, ``identity`` or None.
    :param limit: the most bytes accepted after inflation.
    :raise UnsupportedEncoding: for any other encoding.
    :raise TooLarge: when there is more, or it is compressed more than a request can be.
    :raise BadRequest: when the gzip data is broken.
    """
    name = (encoding or "identity").strip().lower()
    if name not in ("gzip", "x-gzip", "identity"):
        raise UnsupportedEncoding(f"content encoding {name[:40]!r} is not supported; use gzip or none")
    copy = _Gunzip(write, limit) if name != "identity" else _Plain(write, limit)
    try:
        while piece := await source.read(PIECE):
            copy.take(piece)
        copy.finish()
    finally:
        source.close()


class _Plain:
    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self._write, self._limit = write, limit
        self.size = 0

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            raise TooLarge(self._limit, "the request body")
        self._write(piece)

    def finish(self) -> None:
        """All has come."""


class _Gunzip(_Plain):
    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        super().__init__(write, limit)
        self._inflater = zlib.decompressobj(wbits=31)
        self._read = 0

    def take(self, piece: bytes) -> None:
        self._read += len(piece)
        while piece:
            try:
                data = self._inflater.decompress(piece, PIECE)
            except zlib.error as error:
                raise BadRequest(f"the gzip data is broken: {error}") from None
            super().take(data)
            if self.size > max(_FREE, _RATIO * self._read):
                raise TooLarge(self._limit, "the inflated request body")
            if self._inflater.unused_data:
                raise BadRequest("there is more after the end of the gzip data")
            piece = self._inflater.unconsumed_tail

    def finish(self) -> None:
        if not self._inflater.eof:
            raise BadRequest("the gzip data ends early")
