"""A pack that an upstream is asked for without git: the question, and the pack within the answer (pure;
gitprotocol-v2(5), "fetch").

What a push brings is wanted by its id and follows on tips that are here, so there is nothing to negotiate. Two
processes less are started for it than ``git fetch`` starts, one of which loads all that HTTPS takes.
"""

from collections.abc import Iterable

from cachew.plumbing.errors import BadRequest, CorruptObject
from cachew.plumbing.pktline import DELIM, FLUSH, Decoder, Packet, encode_all
from cachew.plumbing.streams import Source
from cachew.upstream.listing import AGENT

MOST_HAVES = 256
_SECTION = b"packfile\n"
_DATA, _PROGRESS = 1, 2


def question(object_format: str, wants: Iterable[str], haves: Iterable[str], *, named: bool = True) -> bytes:
    """Return the body of a request for objects.

    :param object_format: ``sha1`` or ``sha256``.
    :param wants: the object ids of what is to come, with all that it reaches.
    :param haves: those of what is here, with all that it reaches.
    :param named: whether it says who asks, which only who advertises ``agent`` wants to hear.
    """
    packets: list[Packet] = [b"command=fetch\n"]
    if named:
        packets.append(b"agent=%b\n" % AGENT.encode())
    if object_format != "sha1":
        packets.append(b"object-format=%b\n" % object_format.encode())
    packets += [DELIM, b"thin-pack\n", b"no-progress\n", b"ofs-delta\n"]
    packets += [b"want %b\n" % oid.encode() for oid in wants]
    packets += [b"have %b\n" % oid.encode() for oid in haves]
    return encode_all([*packets, b"done\n", FLUSH])


class NoPack(CorruptObject):
    """An answer carries something else than a pack, or not all of it."""


class PackAnswer:
    """The pack within an answer, as a source.

    :param answer: the answer, which it owns.
    """

    def __init__(self, answer: Source) -> None:
        self._answer = answer
        self._decoder = Decoder()
        self._begun = self._ended = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes of the pack.

        :raise NoPack: when the answer carries something else, or is not whole.
        """
        if self._ended:
            # Whoever takes an answer to its very end keeps the connection, which another request is sent over then.
            if await self._answer.read(size):
                raise NoPack("an answer goes on after its end")
            return b""
        pieces: list[bytes] = []
        while not pieces and not self._ended:
            data = await self._answer.read(size)
            if not data:
                raise NoPack("an answer that should carry a pack is not whole")
            try:
                pieces = [piece for packet in self._decoder.feed(data) if (piece := self._piece_of(packet))]
            except BadRequest as malformed:
                raise NoPack("an answer is no sequence of packets") from malformed
        return b"".join(pieces)

    def _piece_of(self, packet: Packet) -> bytes:
        if self._ended:
            raise NoPack("an answer goes on after its end")
        if not self._begun:
            if packet != _SECTION:
                raise NoPack("an answer begins with something else than a pack")
            self._begun = True
            return b""
        if packet is FLUSH:
            self._ended = True
            return b""
        if not isinstance(packet, bytes) or not packet or packet[0] not in (_DATA, _PROGRESS):
            raise NoPack("an answer carries an error")
        return packet[1:] if packet[0] == _DATA else b""

    def close(self) -> None:
        """Give the answer up."""
        self._ended = True
        self._answer.close()
