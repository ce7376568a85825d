"""Ref listings as few bytes, for those that are not at hand."""

import zlib

from cachew.upstream.listing import Listing, RemoteRef, oid_width
from cachew.upstream.manyrefs import many_refs


def pack(listing: Listing) -> bytes:
    """Return a listing as few bytes."""
    lines = [f"{listing.object_format}\0{listing.protocol}"]
    lines += ["\0".join((ref.name, ref.oid or "", ref.symref_target or "", ref.peeled or "")) for ref in listing.refs]
    return zlib.compress("\n".join(lines).encode("utf-8", "surrogateescape"), 1)


def unpack(packed: bytes) -> Listing:
    """Return the listing that was packed."""
    first, *lines = zlib.decompress(packed).decode("utf-8", "surrogateescape").split("\n")
    object_format, protocol = first.split("\0")
    fields = (line.split("\0") for line in lines)
    refs = tuple(RemoteRef(name, oid or None, target or None, peeled or None) for name, oid, target, peeled in fields)
    return Listing(many_refs(refs, oid_width(object_format)), object_format, int(protocol))
