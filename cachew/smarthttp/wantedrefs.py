"""``ref-in-want``: a client names the refs that it wants, and is told what they are (gitprotocol-v2(5)).

So a ref that moves between a client's listing and its fetch is no error. What the refs are is said by the upstream's
own listing, like in every other answer; the request goes on as one for these objects, so that it may be answered by
whoever has them and shares its pack with everybody who wants the same. Only the section that tells the client of its
refs is put into the answer, right before the pack: git's own server puts it before the shallow commits, where git's
client takes it for a mistake.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.joinedsource import JoinedSource
from cachew.plumbing.pktline import DELIM, FLUSH, Decoder, Packet, encode, encode_all, text
from cachew.plumbing.regions import AnyRegion
from cachew.plumbing.streams import PIECE, Source
from cachew.upstream.listing import Listing
from cachew.upstream.manyrefs import MANY, ManyRefs

WANT_REF = b"want-ref "
_HEAD_LIMIT = 64 * 1024 * 1024
_PACKFILE = b"000dpackfile\n"
_LENGTH = 4


class UnknownRef(Exception):
    """A ref is wanted that there is not.

    :param name: its name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def resolved(
    command_body: Iterable[bytes], wanted: Collection[str], listing: Listing, besides: Collection[str] = ()
) -> tuple[bytes, bytes]:
    """Return a request with the refs that it wants replaced by what they are, and the section that says so.

    :param command_body: the request in pieces (blocking to read).
    :param wanted: the names of the refs that it wants.
    :param listing: what they are.
    :param besides: objects that are wanted besides.
    :raise UnknownRef: when one of them is not listed.
    """
    names = _listed(wanted, listing)
    if len(names) < len(wanted) and (absent := next((name for name in wanted if name not in names), None)) is not None:
        raise UnknownRef(absent)
    return asked_for(command_body, names, besides), section(names)


def _listed(wanted: Collection[str], listing: Listing) -> dict[str, str]:
    """Return what those of some refs are that are listed; for very many, what is listed is gone through once."""
    if len(wanted) < MANY or not isinstance(listing.refs, ManyRefs):
        told = listing.by_name
        return {name: ref.oid for name in wanted if (ref := told.get(name)) is not None and ref.oid}
    sought, head = frozenset(wanted), listing.head_oid
    names = {"HEAD": head} if head is not None and "HEAD" in sought else {}
    return names | {name: oid for name, oid in listing.refs.tips() if name in sought}


def asked_for(command_body: Iterable[bytes], names: Mapping[str, str], besides: Collection[str] = ()) -> bytes:
    """Return a request with the refs that it wants replaced by what they are.

    :param command_body: the request in pieces (blocking to read).
    :param names: the object id of every ref that it wants.
    :param besides: objects that are wanted besides.
    """
    return b"".join(_replaced(command_body, names, besides))


def _replaced(body: Iterable[bytes], names: Mapping[str, str], besides: Collection[str]) -> Iterator[bytes]:
    decoder, told, arguments = Decoder(), set[str](), False
    for piece in body:
        for packet in decoder.feed(piece):
            arguments |= packet is DELIM
            line = text(packet) if isinstance(packet, bytes) else b""
            if not arguments or not line.startswith(WANT_REF):
                yield encode_all([packet])
                continue
            name = line.removeprefix(WANT_REF).decode("utf-8", "surrogateescape")
            for oid in (names[name], *(() if told else besides)):
                if oid not in told:
                    told.add(oid)
                    yield encode(f"want {oid}\n".encode())


def section(names: Mapping[str, str]) -> bytes:
    """Return the section of an answer that says what the refs are, with what separates it from the next one."""
    lines: list[Packet] = [f"{oid} {name}\n".encode("utf-8", "surrogateescape") for name, oid in names.items()]
    return encode_all([b"wanted-refs\n", *lines, DELIM])


def unknown(name: str) -> bytes:
    """Return the answer to a request for a ref that there is not, in git's words."""
    return encode_all([f"ERR unknown ref {name}".encode("utf-8", "surrogateescape"), FLUSH])


class WithWantedRefs:
    """An answer to a fetch with one more section in it.

    :param source: the answer; goes with this.
    :param wanted: the section.
    :ivar added: by how many bytes it is longer, once it has begun.
    """

    def __init__(self, source: Source, wanted: bytes) -> None:
        self._source = source
        self._wanted = wanted
        self._joined: JoinedSource | None = None
        self.added = 0

    async def begin(self) -> JoinedSource:
        """Read as far as the pack begins; an answer without one stays as it is.

        :return: the answer with the section in it.
        :raise BadRequest: when that is too far.
        """
        if self._joined is None:
            self._joined = JoinedSource(await self._head(), self._source)
        return self._joined

    async def _head(self) -> bytes:
        head = bytearray()
        position = 0
        while True:
            while (end := _end_of(head, position)) is not None and head[position:end] != _PACKFILE:
                position = end
            if end is not None:
                self.added = len(self._wanted)
                head[position:position] = self._wanted
                break
            piece = await self._source.read(PIECE)
            if not piece:
                break
            head += piece
            if len(head) > _HEAD_LIMIT:
                raise BadRequest("the answer says too much before its pack")
        return bytes(head)

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        return await (await self.begin()).read(size)

    async def region(self, limit: int) -> AnyRegion | None:
        """Return where the next bytes lie."""
        return await (await self.begin()).region(limit)

    def close(self) -> None:
        """Let go of the answer."""
        self._source.close()


def _end_of(head: bytearray, position: int) -> int | None:
    """Return where the packet at a position ends, None when it is not all there yet."""
    digits = bytes(head[position : position + _LENGTH])
    if len(digits) < _LENGTH:
        return None
    try:
        length = max(int(digits, 16), _LENGTH)
    except ValueError:
        return None
    return position + length if position + length <= len(head) else None
