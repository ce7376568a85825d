"""What is received or made once for all who ask for it meanwhile: each follows it from the first byte at its own speed.

Here is the one place that owns a source between its coming and its end. Whoever asks is given his share (or a failure)
in the same turn in which the source arrives, and only then anything is received; whatever happens to those who asked,
how and when they leave, a production that nobody follows is given up unless it is worth finishing, and one that has
ended leaves no source, file or entry in a table behind.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from twisted.logger import Logger

from cachew.plumbing.diskspace import NO_ROOM, room_to_grow
from cachew.plumbing.errors import SpoolFailed, StorageFull
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, FiledSource, Source
from cachew.plumbing.waiters import Waiters

Room = Callable[[], Awaitable[bool]]
BETWEEN_LOOKS = 16 * 1024 * 1024
"""Bytes that are received between two looks at the disk: an upstream may send without end."""


async def _always() -> bool:
    """Say that there is room."""
    return True


def leaving(directory: Path, least: int) -> Room:
    """Say that there is room for more in a directory, by the same rule as for what git writes."""
    grows = room_to_grow(directory, least)

    async def has_room() -> bool:
        return grows()

    return has_room


@runtime_checkable
class PipedSource(Source, Protocol):
    """A source whose bytes come out of a pipe, where somebody else can take them."""

    def divert(self, into: Callable[[int], int]) -> bytes:
        """From now on, have what comes taken out of the pipe; reading then gives the end and nothing before it.

        :param into: is given the descriptor of the pipe's reading end and returns how many bytes it took, 0 at the
            pipe's end, or raises :class:`BlockingIOError` when nothing waits; it is asked until it does, with short
            pauses when much comes. What else it raises ends the source.
        :return: what has come before.
        """


class Production:
    """Fills a spool, for as long as anybody follows.

    A slow client holds neither a process nor its place. Kinds of productions say by overriding what fills the spool,
    and what else is done with the bytes.

    :param spool: where the bytes go; it is discarded in the end.
    :ivar stuck: whether the disk did not let the spool go then; what has been received is as good.
    """

    log = Logger()

    def __init__(self, *, spool: Spool) -> None:
        self.spool = spool
        self.given_up = False
        self.stuck = False
        self.has_settled = False
        self._settling = Waiters()

    def follow(self, offset: int = 0) -> FiledSource:
        """Return a source from a byte to the last one.

        :raise SpoolFailed: when the production is over.
        :raise OSError: when there is no file to be had for it.
        """
        follower = self.spool.follow(offset)
        self.spool.when_idle().addCallback(self._left_alone)
        return follower

    def _left_alone(self, _: None) -> None:
        if self.spool.state == "open" and not self.worth_finishing():
            self.give_up()

    def give_up(self) -> None:
        """Go on no more; whoever follows gets a failure."""
        self.given_up = True
        self.close()

    async def run(self) -> None:
        """Fill the spool to the end or a failure; a failure is for the followers.

        Nothing of it is left then, but for what was made of it.
        """
        try:
            await self.fill()
            self.spool.finish()
            await self.whole()
        except Exception as failure:
            self.spool.fail(failure)
            self.broke_off(failure)
        finally:
            self.close()
            try:
                await self.over()
            finally:
                self._discard()

    def _discard(self) -> None:
        try:
            self.spool.discard()
        except OSError as error:
            self.log.warn("can't remove {path}: {error}", path=str(self.spool.path), error=str(error))
            self.stuck = True

    async def settled(self) -> None:
        """Wait until it has ended, well or badly, and is in no table any more."""
        if not self.has_settled:
            await self._settling.wait()

    def settle(self) -> None:
        """Tell those who wait for its end; whoever has it in a table calls this."""
        self.has_settled = True
        self._settling.wake()

    # What kinds of productions do.

    async def fill(self) -> None:
        """Write all bytes to the spool.

        :raise Exception: what the followers are told.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the bytes come from; a :meth:`fill` under way ends. Called again at the end."""

    def worth_finishing(self) -> bool:
        """Say whether it goes on though nobody follows."""
        return False

    async def whole(self) -> None:
        """All of it is in the spool."""

    def broke_off(self, failure: Exception) -> None:
        """It has failed, or what is done with the whole of it has; a cancel is a failure too."""

    async def over(self) -> None:
        """It has ended, in whatever way."""


class Received(Production):
    """Copies a source into a spool as fast as the source gives.

    What a process writes goes from its pipe to the disk inside the kernel.

    :param source: the answer; it is closed in the end.
    :param spool: where it goes.
    :param room: tells now and then whether the disk still has room for more of what doesn't come out of a pipe.
    """

    def __init__(self, *, source: Source, spool: Spool, room: Room = _always) -> None:
        super().__init__(spool=spool)
        self._source = source
        self._room = room
        self._looked_at = 0

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    async def fill(self) -> None:
        """Receive until the source ends."""
        if isinstance(self._source, PipedSource) and not self.given_up:
            self.spool.write(self._source.divert(self.spool.take))
        while not self.given_up and (piece := await self._source.read(PIECE)):
            self.spool.write(piece)
            await self._require_room()
            await self.received(piece)
        if self.given_up:
            raise SpoolFailed("it was given up")

    async def _require_room(self) -> None:
        if self.spool.size - self._looked_at < BETWEEN_LOOKS:
            return
        self._looked_at = self.spool.size
        if not await self._room():
            self.log.warn(
                "an answer is received no further than {size} bytes: {why}", size=self.spool.size, why=NO_ROOM
            )
            raise StorageFull(NO_ROOM)

    async def received(self, piece: bytes) -> None:
        """Take a piece that was spooled and didn't come out of a pipe."""
