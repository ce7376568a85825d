"""What the server parses piece by piece, parsed as a whole."""

from collections.abc import Iterable

from cachew.plumbing.pktline import Packet, encode_all
from cachew.smarthttp.clientcommands import GitCommand
from cachew.smarthttp.request import read_command
from cachew.upstream.advertisement import AdvertisementParser
from cachew.upstream.listing import Capabilities, Listing, MalformedListing
from cachew.upstream.refstream import LsRefsReader


def parse_command(body: bytes, protocol: str | None) -> GitCommand:
    """Read a request body that is in memory."""
    return read_command((body,), protocol)


def parse_ls_refs(packets: Iterable[Packet], object_format: str = "sha1", before: Listing | None = None) -> Listing:
    """Parse a whole ``ls-refs`` response."""
    reader = LsRefsReader(object_format, before)
    reader.feed(encode_all(packets))
    return reader.result()


def parse_v0_advertisement(packets: Iterable[Packet]) -> Listing:
    """Parse a whole v0 or v1 advertisement."""
    _, listing = _advertised(packets)
    if listing is None:
        raise MalformedListing("a v2 advertisement where one with refs was expected")
    return listing


def parse_v2_capabilities(packets: Iterable[Packet]) -> Capabilities:
    """Parse a whole v2 capability advertisement."""
    capabilities, listing = _advertised(packets)
    if listing is not None:
        raise MalformedListing("the upstream does not speak protocol v2")
    return capabilities


def head_target(listing: Listing) -> str | None:
    """Return the branch that ``HEAD`` names, born or unborn; None when it is detached or unknown."""
    head = listing.by_name.get("HEAD")
    return None if head is None else head.symref_target


def _advertised(packets: Iterable[Packet]) -> tuple[Capabilities, Listing | None]:
    parser = AdvertisementParser()
    for packet in packets:
        parser.take(packet)
    return parser.result()
