"""The pkt-line framing of git's protocols (pure).

See gitprotocol-common(5), "pkt-line Format". A packet is a payload, or one of the three special packets: flush
(``0000``), delimiter (``0001``) and response end (``0002``).
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache

from cachew.plumbing.errors import BadRequest

MAX_PAYLOAD = 65516
"""The longest payload of one packet, in bytes."""


class Special(Enum):
    """A packet without payload."""

    FLUSH = b"0000"
    DELIM = b"0001"
    RESPONSE_END = b"0002"


FLUSH, DELIM, RESPONSE_END = Special.FLUSH, Special.DELIM, Special.RESPONSE_END
Packet = bytes | Special
_HEX = re.compile(rb"[0-9a-fA-F]{4}").fullmatch
_SPECIAL = {0: FLUSH, 1: DELIM, 2: RESPONSE_END}


def encode(payload: bytes) -> bytes:
    """Frame one payload.

    :raise ValueError: when it is longer than :data:`MAX_PAYLOAD`.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"pkt-line payload of {len(payload)} bytes")
    return b"%04x" % (len(payload) + 4) + payload


def encode_all(packets: Iterable[Packet]) -> bytes:
    """Frame a sequence of payloads and special packets."""
    return b"".join(p.value if isinstance(p, Special) else encode(p) for p in packets)


class Decoder:
    """An incremental decoder: feed it pieces, it gives the packets that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take a piece of the stream and yield each packet that it completes.

        :raise BadRequest: when a length is not four hex digits or is 3.
        """
        buffer = self._rest + data
        position = 0
        try:
            while len(buffer) - position >= 4:
                length = _length(buffer[position : position + 4])
                if length < 3:
                    position += 4
                    yield _SPECIAL[length]
                    continue
                if len(buffer) - position < length:
                    break
                payload = buffer[position + 4 : position + length]
                position += length
                yield payload
        finally:
            self._rest = buffer[position:]

    @property
    def rest(self) -> bytes:
        """What has come of a packet that is not complete."""
        return self._rest


@lru_cache(maxsize=4096)
def _length(digits: bytes) -> int:
    if _HEX(digits) is None:
        raise BadRequest(f"bad pkt-line length {digits!r}")
    length = int(digits, 16)
    if length == 3:
        raise BadRequest("bad pkt-line length 3")
    return length


def decode(data: bytes) -> list[Packet]:
    """Decode a whole message.

    :raise BadRequest: when it is malformed or ends within a packet.
    """
    decoder = Decoder()
    packets = list(decoder.feed(data))
    if decoder.rest:
        raise BadRequest("the message ends within a pkt-line")
    return packets


def text(packet: Packet) -> bytes:
    """Return a payload without its trailing newline.

    :raise BadRequest: for a special packet.
    """
    if isinstance(packet, Special):
        raise BadRequest("unexpected flush or delimiter packet")
    return packet[:-1] if packet.endswith(b"\n") else packet
