"""Reads an ``ls-refs`` response as it comes, so that what a long one costs depends on what has changed in it (pure).

Its bytes are compared with the blocks of the listing before. Only where they differ lines are read, up to where that
block ended. Each piece is dealt with when it comes, so that half a million refs keep nobody waiting. What is not quite
ordinary is read ref by ref, also what has come before that showed: a slice at a time.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from cachew.plumbing.pktline import Decoder
from cachew.upstream.listing import Listing, LsRefsParser, MalformedListing, oid_width
from cachew.upstream.manyrefs import HEAD, MANY, SIZE, ManyRefs
from cachew.upstream.refblocks import NotOrdinary, RefBlock
from cachew.upstream.remoteref import RemoteRef

_END = b"0000"
_SLICE = 512 * 1024
"""Bytes that are read ref by ref in one turn, twice what comes in one."""


class LsRefsReader:
    """Reads one response.

    :param object_format: what the upstream's capabilities said.
    :param before: an earlier listing.
    """

    def __init__(self, object_format: str = "sha1", before: Listing | None = None) -> None:
        self._format, self._width = object_format, oid_width(object_format)
        known = before.refs if before is not None and before.object_format == object_format else None
        self._lines = _RefLines(self._width, known.blocks if isinstance(known, ManyRefs) else ())
        self._first = b""
        """What has come before the lines: of HEAD, if there is one."""
        self._head: RemoteRef | None = None
        self._begun = False
        self._listing: Listing | None = None
        self._plain: tuple[LsRefsParser, Decoder] | None = None
        self._waiting: deque[bytes] = deque()
        """What has come and is still to be read ref by ref."""

    @property
    def behind(self) -> bool:
        """Whether there is something that has come and was not read."""
        return bool(self._waiting)

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        :raise MalformedListing: when it has no place here.
        :raise RemoteError: when there is an ``ERR`` packet in it.
        :raise BadRequest: when it is not made of packets.
        """
        if self._plain is None:
            try:
                self._take(piece)
            except NotOrdinary:
                self._read_plainly()
        else:
            self._waiting.append(piece)
        self.catch_up()

    def _read_plainly(self) -> None:
        self._plain = LsRefsParser(self._format), Decoder()
        self._waiting.extend(filter(None, [self._first, *self._lines.so_far()]))
        self._lines = _RefLines(self._width, ())

    def catch_up(self) -> None:
        """Read a slice of what waits.

        :raise MalformedListing: as :meth:`feed` does, and for the same reasons the others.
        """
        if self._plain is None:
            return
        parser, decoder = self._plain
        size = 0
        while self._waiting and size < _SLICE:
            piece = self._waiting.popleft()
            size += len(piece)
            for packet in decoder.feed(piece):
                parser.take(packet)

    def _take(self, piece: bytes) -> None:
        if self._begun:
            self._lines.feed(piece)
            return
        self._first += piece
        length = length_of(self._first)
        if length is None or len(self._first) < length:
            return
        line = self._first[:length]
        self._head, self._begun = self._head_in(line), True
        rest, self._first = self._first, line if self._head is not None else b""
        self._lines.feed(rest[len(self._first) :])

    def _head_in(self, line: bytes) -> RemoteRef | None:
        if b" HEAD" not in line[: self._width + 9]:
            return None
        parser = LsRefsParser(self._format)
        parser.take(line[4:])
        (found,) = parser.refs
        return found if found.name == HEAD else None

    def finish(self) -> None:
        """Take note that nothing more comes; what waits then can be read a slice at a time."""
        if self._plain is not None or self._listing is not None:
            return
        try:
            refs = ManyRefs(self._head, self._lines.finish())
            self._listing = Listing(refs if len(refs) >= MANY else tuple(refs), self._format, 2)
        except NotOrdinary:
            self._read_plainly()

    def result(self) -> Listing:
        """Return the listing.

        :raise MalformedListing: when it has not come to its end.
        :raise BadRequest: when what came last is not made of packets.
        """
        self.finish()
        while self.behind:
            self.catch_up()
        if self._listing is not None:
            return self._listing
        assert self._plain is not None
        parser, decoder = self._plain
        if decoder.rest:
            raise MalformedListing("it broke off within a packet")
        return parser.result()


def length_of(packet: bytes) -> int | None:
    """Return how long a packet is of which the beginning has come; None while too little has.

    :raise NotOrdinary: when it is none with a line in it.
    """
    if len(packet) < 4:
        return None
    try:
        length = int(packet[:4], 16)
    except ValueError:
        raise NotOrdinary from None
    if length <= 4:
        raise NotOrdinary
    return length


class _RefLines:
    """Cuts lines into blocks, the same as before where they are the same.

    :param width: digits of an object id.
    :param before: the blocks of the listing before.
    """

    def __init__(self, width: int, before: Sequence[RefBlock]) -> None:
        self._width, self._before = width, before
        self._passed = 0
        self._rest = b""
        self._blocks: list[RefBlock] = []
        self._firsts: list[bytes] = []
        self._seen: set[bytes] = set()

    def so_far(self) -> list[bytes]:
        """Return all that has come, in pieces."""
        return [*(block.data for block in self._blocks), self._rest]

    def feed(self, data: bytes) -> None:
        """Take what comes next.

        :raise NotOrdinary: when it can't be kept as lines.
        """
        self._rest += data
        while self._step(last=False):
            pass

    def finish(self) -> list[RefBlock]:
        """Return the blocks, after the end has come.

        :raise NotOrdinary: when they can't be kept so, or it has not.
        """
        if not self._rest.endswith(_END):
            raise NotOrdinary
        self._rest = self._rest[: -len(_END)]
        try:
            while self._step(last=True):
                pass
        except NotOrdinary:
            self._rest += _END
            raise
        self._rest = _END
        return self._blocks

    def _step(self, *, last: bool) -> bool:
        """Take one block out of what has come, if that is enough."""
        old = self._before[self._passed] if self._passed < len(self._before) else None
        if old is not None and self._rest.startswith(old.data):
            self._passed += 1
            self._accept(old)
            return True
        limit = SIZE if old is None else SIZE + len(old.data)
        if len(self._rest) < (1 if last else limit):
            return False
        # A line is shorter than a block.
        end = self._end_like(old, limit) or self._rest.rfind(b"\n", 0, limit) + 1
        moved = None if old is None else old.moved(self._rest[:end])
        block = moved or RefBlock(self._rest[:end], self._width)
        if old is not None and block.last >= old.last:
            self._passed += 1
            if not (count := block.position_after(old.last)):
                return True
            block = block if count == len(block) else block.part(0, count)
        self._accept(block)
        return True

    def _end_like(self, old: RefBlock | None, limit: int) -> int:
        """Return where the line of the ref ends with which an old block ended; 0 where it is not found."""
        if old is None:
            return 0
        name = b" " + old.last
        place = max(self._rest.find(name + end, 0, limit) for end in (b"\n", b" "))
        return 0 if place < 0 else self._rest.find(b"\n", place, limit) + 1

    def _accept(self, block: RefBlock) -> None:
        if self._blocks and self._blocks[-1].last >= block.first:
            raise NotOrdinary
        self._rest = self._rest[len(block.data) :]
        self._blocks.append(block)
        self._firsts.append(block.first)
        # In order, a ref comes before those below it, the first of which names it as their directory.
        for directory in block.directories - self._seen:
            if self._has(directory):
                raise NotOrdinary
        self._seen |= block.directories

    def _has(self, name: bytes) -> bool:
        number = bisect_right(self._firsts, name) - 1
        return number >= 0 and self._blocks[number].find(name) is not None
