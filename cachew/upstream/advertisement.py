"""What an upstream answers to `GET info/refs` (pure).

Asked for protocol v2 it tells its capabilities; when it does not speak v2 it tells its refs at once, in the form of v0
or v1. See gitprotocol-v2(5), gitprotocol-http(5) and gitprotocol-pack(5).
"""

import re

from cachew.plumbing.errors import CachewError
from cachew.plumbing.pktline import FLUSH, Decoder, Packet, encode_all
from cachew.upstream.listing import (
    REF_NAME,
    Capabilities,
    Listing,
    MalformedListing,
    RemoteRef,
    each_once,
    is_funny,
    oid_width,
    payload_of,
    printable,
    text_of,
)

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (" + REF_NAME + rb")(\^\{\})?")


class AdvertisementParser:
    """Reads the answer to ``GET info/refs``, whichever protocol it speaks.

    A leading ``# service=`` packet and the flush after it are optional: some servers leave them out in v2.
    """

    def __init__(self) -> None:
        self.protocol: int | None = None
        self.done = False
        self._begun = self._after_service = False
        self._features: dict[str, str | None] = {}
        self._refs: list[RemoteRef] = []
        self._symrefs: dict[str, str] = {}

    def take(self, packet: Packet) -> None:
        """Take the next packet; git's clients read no further than the end, so what may follow says nothing.

        :raise MalformedListing: when it has no place here.
        :raise RemoteError: when it is an ``ERR`` packet.
        """
        if self.done:
            if packet is not FLUSH and not self._features and not self._refs:
                # That a repository has lost all its refs is not believed at half a word.
                raise MalformedListing("more after the end of an empty advertisement")
            return
        if packet is FLUSH:
            self._flush()
        elif self.protocol is None:
            self._first(payload_of(packet))
        elif self.protocol == 2:
            self._capability(payload_of(packet))
        else:
            self._ref(payload_of(packet))

    def _flush(self) -> None:
        if self._after_service:
            self._after_service = False
        elif not self._begun:
            raise MalformedListing("it begins with its end")
        else:
            self.done = True

    def _first(self, line: bytes) -> None:
        self._begun = True
        if line.startswith(b"# service="):
            self._after_service = True
        elif line in (b"version 2", b"version 1"):
            self._after_service = False
            self.protocol = int(line[-1:])
        else:
            self._after_service = False
            self.protocol = 0
            self._ref(line)

    def _capability(self, line: bytes) -> None:
        key, equals, value = text_of(line).partition("=")
        self._features[key] = value if equals else None

    def _ref(self, line: bytes) -> None:
        line, nul, capabilities = line.partition(b"\0")
        if nul and not self._refs:
            self._v0_capabilities(text_of(capabilities))
        if line.startswith(b"shallow ") or line.endswith(b" capabilities^{}"):
            return
        match = _LINE.fullmatch(line)
        if match is None and is_funny(line):
            return
        if match is None or len(match[1]) != oid_width(self._features.get("object-format") or "sha1"):
            raise MalformedListing(f"bad line in the advertisement: {printable(line)}")
        self._add(match[1].decode("ascii"), text_of(match[2]), bool(match[3]))

    def _add(self, oid: str, name: str, peeled: bool) -> None:
        if not peeled:
            self._refs.append(RemoteRef(name, oid, self._symrefs.get(name)))
        elif self._refs and self._refs[-1].name == name:
            last = self._refs[-1]
            self._refs[-1] = RemoteRef(name, last.oid, last.symref_target, oid)

    def _v0_capabilities(self, text: str) -> None:
        for capability in filter(None, text.split(" ")):
            key, equals, value = capability.partition("=")
            if key == "symref":
                name, _, target = value.partition(":")
                self._symrefs[name] = target
            else:
                self._features[key] = value if equals else None

    def result(self) -> tuple[Capabilities, Listing | None]:
        """Return the capabilities, and the listing when the upstream speaks v0 or v1.

        :raise MalformedListing: when the advertisement has not come to its end.
        """
        if not self.done:
            raise MalformedListing("the advertisement broke off")
        protocol = self.protocol or 0
        capabilities = Capabilities(dict(self._features), protocol)
        oid_width(capabilities.object_format)
        if protocol == 2:
            return capabilities, None
        born = {ref.name for ref in self._refs}
        unborn = [RemoteRef(name, None, target) for name, target in self._symrefs.items() if name not in born]
        return capabilities, Listing((*unborn, *each_once(self._refs)), capabilities.object_format, protocol)


def capabilities_of(body: bytes) -> Capabilities | None:
    """Return what an upstream speaks of which this is a whole answer to ``GET info/refs``; None for all but v2."""
    parser, decoder = AdvertisementParser(), Decoder()
    try:
        for packet in decoder.feed(body):
            parser.take(packet)
        capabilities, listing = parser.result()
    except CachewError:
        return None
    return capabilities if listing is None and not decoder.rest else None


def advertisement_of(capabilities: Capabilities) -> bytes:
    """Return the answer to ``GET info/refs`` by which an upstream that speaks v2 has told its capabilities."""
    lines = [key if value is None else f"{key}={value}" for key, value in capabilities.features.items()]
    return encode_all([*(f"{line}\n".encode("utf-8", "surrogateescape") for line in ("version 2", *lines)), FLUSH])
