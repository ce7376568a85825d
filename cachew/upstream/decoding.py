"""Undoing the content encodings that an upstream, or a proxy before it, has applied without being asked.

Whoever reads gets plain bytes, so that nothing behind this has to know of encodings. Sizes are not trusted: never more
than one piece of either form is held. See RFC 9110, section 8.4.1, and RFC 1952 for members one after the other.
"""

import zlib
from collections.abc import Iterable

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.streams import PIECE, Source

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""The ``wbits`` of zlib for a gzip stream, a zlib stream, and one without a head."""
_GZIPPED = ("gzip", "x-gzip")
_PLAIN = ("", "identity", "none")
"""What says that nothing was done; libcurl, hence git, takes ``none`` for it too, which some servers send."""
_MOST = 3
"""How many encodings one upon the other are undone."""


def codings_of(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return the content encodings of a body in the order in which they were applied."""
    said = [value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding"]
    words = [word.strip().lower() for word in ",".join(said).split(",")]
    return [word for word in words if word not in _PLAIN]


def decoded(source: Source, codings: list[str], *, upstream: str) -> Source:
    """Return a body's content.

    :param source: the body as it comes; owned by what is returned, closed when this fails.
    :param codings: its encodings.
    :param upstream: the URL for messages.
    :raise UpstreamUnreachable: when one of them is not known here.
    """
    unknown = next((coding for coding in codings if coding not in (*_GZIPPED, "deflate")), None)
    if unknown is not None or len(codings) > _MOST:
        source.close()
        what = "too many content encodings" if unknown is None else f"the content encoding {unknown[:40]!r}"
        raise UpstreamUnreachable(upstream, f"its answer has {what}, which nobody asked for")
    for coding in reversed(codings):
        source = InflatedSource(source, gzipped=coding in _GZIPPED, upstream=upstream)
    return source


class InflatedSource:
    """A source over the content of a gzip or deflate stream.

    :param source: the compressed stream, which it owns.
    :param gzipped: whether it is gzip.
    :param upstream: the URL for messages.
    """

    def __init__(self, source: Source, *, gzipped: bool, upstream: str) -> None:
        self._source = source
        self._gzipped = gzipped
        self._upstream = upstream
        self._inflate = zlib.decompressobj(_GZIP) if gzipped else None
        self._compressed = b""
        self._untouched = True

    async def read(self, size: int) -> bytes:
        """Return the next inflated bytes; of a stream without a single byte there are none.

        :raise UpstreamUnreachable: when the stream is damaged or broken off.
        """
        while True:
            if not self._compressed:
                self._compressed = await self._source.read(PIECE)
            if not self._compressed and (self._inflate is None or self._ended or self._untouched):
                return b""
            if self._ended and not self._next_member():
                return b""
            ended = not self._compressed
            piece = self._inflated(size)
            if piece:
                return piece
            if ended and not self._ended:
                raise UpstreamUnreachable(self._upstream, "its compressed answer broke off")

    @property
    def _ended(self) -> bool:
        return self._inflate is not None and self._inflate.eof

    def _next_member(self) -> bool:
        """Go on with another gzip stream after one that has ended; anything else there is padding."""
        if not self._gzipped or not self._compressed.startswith(b"\x1f"):
            return False
        self._inflate = zlib.decompressobj(_GZIP)
        return True

    def _inflated(self, size: int) -> bytes:
        if self._inflate is None:
            self._inflate = zlib.decompressobj(_ZLIB if _is_zlib(self._compressed) else _RAW)
        self._untouched = False
        try:
            piece = self._inflate.decompress(self._compressed, size)
        except zlib.error as error:
            raise UpstreamUnreachable(self._upstream, f"its compressed answer is damaged: {error}") from None
        self._compressed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return piece

    def close(self) -> None:
        """Give the stream up."""
        self._source.close()


def _is_zlib(start: bytes) -> bool:
    """Whether a deflate stream has zlib's head (RFC 1950), as it should, and as some servers don't send it."""
    return start[0] & 15 == 8 and (len(start) < 2 or int.from_bytes(start[:2]) % 31 == 0)
