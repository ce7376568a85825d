"""Git's own checksums in a snapshot's files, computed while the files are written.

Packs, their indexes and what git derives from them end in a digest of all that comes before (gitformat-pack(5),
"trailing checksum"); a loose object is called after the digest of its content. So a file that was damaged on the
server before it was archived, which no checksum of the transfer can tell, is found out before anybody uses it.
"""

import hashlib
import re
import zlib
from typing import Any, Protocol

from cachew.plumbing.trailing import TrailingDigest

_TRAILED = re.compile(
    rb"\.git/objects/(?:pack/(?:pack-(?P<id>[0-9a-f]+)\.|multi-pack-index-(?P<midx>[0-9a-f]+)\.)"
    rb"(?:pack|idx|rev|bitmap|mtimes)|pack/multi-pack-index|info/commit-graph|info/commit-graphs/graph-[0-9a-f]+\.graph)"
)
_LOOSE = re.compile(rb"\.git/objects/([0-9a-f]{2})/([0-9a-f]{38}(?:[0-9a-f]{24})?)")
_FUNCTIONS = {40: (hashlib.sha1,), 64: (hashlib.sha256,)}
_EITHER = (hashlib.sha1, hashlib.sha256)
_INFLATED_AT_ONCE = 1024 * 1024


class FileSum(Protocol):
    """The checksum of one file."""

    def update(self, content: bytes | memoryview) -> None:
        """Take what comes next of the file."""

    def holds(self) -> bool:
        """Tell whether the file, which has ended, is what its checksum says."""


class TrailingSum:
    """A file that ends in the digest of what is before it.

    :param functions: git's hash functions, one of which it is by.
    """

    def __init__(self, functions: tuple[Any, ...]) -> None:
        self._sums = [TrailingDigest(make()) for make in functions]

    def update(self, content: bytes | memoryview) -> None:
        """Take what comes next of the file."""
        for each in self._sums:
            each.update(content)

    def holds(self) -> bool:
        """Tell whether it ends in its digest."""
        return any(each.holds() for each in self._sums)


class LooseSum:
    """A loose object, which is called after the digest of its inflated content.

    :param oid: its name in hex.
    """

    def __init__(self, oid: str) -> None:
        self._oid = oid
        self._digest = _FUNCTIONS[len(oid)][0]()
        self._inflating = zlib.decompressobj()
        self._broken = False

    def update(self, content: bytes | memoryview) -> None:
        """Take what comes next of the file."""
        while content and not self._broken:
            if self._inflating.eof:
                self._broken = True
                return
            try:
                self._digest.update(self._inflating.decompress(content, _INFLATED_AT_ONCE))
            except zlib.error:
                self._broken = True
            content = self._inflating.unused_data or self._inflating.unconsumed_tail

    def holds(self) -> bool:
        """Tell whether its content is what its name says, and nothing comes after it."""
        if self._broken:
            return False
        self._digest.update(self._inflating.flush())
        return self._inflating.eof and bool(self._digest.hexdigest() == self._oid)


def sum_of(path: bytes) -> FileSum | None:
    """Return what checks a file of a snapshot, None when git has no checksum for it.

    :param path: within the working tree.
    """
    if match := _TRAILED.fullmatch(path):
        return TrailingSum(_FUNCTIONS.get(len(match["id"] or match["midx"] or b""), _EITHER))
    if match := _LOOSE.fullmatch(path):
        return LooseSum((match[1] + match[2]).decode())
    return None
