"""Reading objects of stores that are not quite Amazon's, or of buckets that others use too; everything here blocks."""

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from cachew.plumbing.storewords import StoreWords

_PIECE = 1024 * 1024
_SMALL = 8 * 1024 * 1024
"""Bytes of the largest small object: eight times what the manifest of the largest content has."""


def small_object(store: ObjectStore, path: str) -> tuple[bytes, str]:
    """Return an object and its version; without content when it is not small, or lies in an archive.

    :raise FileNotFoundError: when there is none.
    """
    try:
        result = obstore.get(store, path)
    except BaseError as error:
        if not StoreWords.of(error).archived:
            raise
        return b"", strong(obstore.head(store, path)["e_tag"])
    return b"" if result.meta["size"] > _SMALL else bytes(result.bytes()), strong(result.meta["e_tag"])


def range_of(store: ObjectStore, path: str, start: int, end: int) -> memoryview:
    """Return a range of an object, less when it ends before.

    :raise FileNotFoundError: when there is no such object, or only in an archive.
    """
    try:
        return memoryview(obstore.get_range(store, path, start=start, end=end))
    except BaseError as error:
        said = StoreWords.of(error)
        if said.archived:
            raise FileNotFoundError(path) from error
        if said.beyond_the_end:
            return memoryview(b"")
        if not said.whole_only:
            raise
    return _cut_out(store, path, start, end)


def _cut_out(store: ObjectStore, path: str, start: int, end: int) -> memoryview:
    """Return a range out of the whole, which is read no further."""
    data, place = bytearray(), 0
    for piece in obstore.get(store, path).stream(min_chunk_size=_PIECE):
        data += memoryview(piece)[max(start - place, 0) : max(end - place, 0)]
        place += len(piece)
        if place >= end:
            break
    return memoryview(bytes(data))


def strong(tag: str | None) -> str:
    """Return an entity tag that conditions take; what compresses on the way weakens those that pass."""
    return (tag or "").removeprefix("W/")
