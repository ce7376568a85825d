"""What is received or made once for all who ask for it meanwhile: each follows it from the first byte at its own speed.

Here is the one place that owns a source between its coming and its end. Whoever asks is given his share (or a failure)
in the same turn in which the source arrives, and only then anything is received; whatever happens to those who asked,
how and when they leave, a production that nobody follows is given up unless it is worth finishing, and one that has
ended leaves no source, file or entry in a table behind.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, FiledSource, PipedSource, Source
from cachew.plumbing.waiters import Waiters

K = TypeVar("K")
P = TypeVar("P", bound="Production")


class Production:
    """Fills a spool, for as long as anybody follows.

    A slow client holds neither a process nor its place. Kinds of productions say by overriding what fills the spool,
    and what else is done with the bytes.

    :param spool: where the bytes go; it is discarded in the end.
    """

    log = Logger()

    def __init__(self, *, spool: Spool) -> None:
        self.spool = spool
        self.given_up = False
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
            self.stuck()

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

    def stuck(self) -> None:
        """The disk did not let the spool go; it goes at the next start, and what has been received is as good."""


class Received(Production):
    """Copies a source into a spool as fast as the source gives.

    What a process writes goes from its pipe to the disk inside the kernel.

    :param source: the answer; it is closed in the end.
    :param spool: where it goes.
    """

    def __init__(self, *, source: Source, spool: Spool) -> None:
        super().__init__(spool=spool)
        self._source = source

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    async def fill(self) -> None:
        """Receive until the source ends."""
        if isinstance(self._source, PipedSource) and not self.given_up:
            self.spool.write(self._source.divert(self.spool.take))
        while not self.given_up and (piece := await self._source.read(PIECE)):
            self.spool.write(piece)
            await self.received(piece)
        if self.given_up:
            raise SpoolFailed("it was given up")

    async def received(self, piece: bytes) -> None:
        """Take a piece that was spooled and didn't come out of a pipe."""


@dataclass(frozen=True)
class Share(Generic[P]):
    """What one of those who follow a production gets.

    :param source: its bytes, which now are his who was given this.
    :param began: whether it was begun for him.
    """

    production: P
    source: FiledSource
    began: bool


class _Beginning(Generic[P]):
    """A production that is being begun, and those who wait for it with the bytes from which they will follow."""

    def __init__(self) -> None:
        self.turns: dict[Deferred[Share[P] | None], int] = {}
        self.work: Deferred[P | None] | None = None


class Followed(Generic[K, P]):
    """Productions by what they are of: at most one that is begun and one that is under way.

    :param start: runs what goes on behind; by default whatever it fails with is logged.
    """

    log = Logger()

    def __init__(self, *, start: Callable[[Coroutine[Any, Any, None], str], object] | None = None) -> None:
        self._start = start or self._start_alone
        self._beginning: dict[K, _Beginning[P]] = {}
        self._running: dict[K, P] = {}
        self._going: set[P] = set()

    def __contains__(self, key: K) -> bool:
        return key in self._beginning or (key in self._running and not self._running[key].given_up)

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._going)

    @property
    def under_way(self) -> dict[K, P]:
        """Those that can be joined."""
        return {key: production for key, production in self._running.items() if not production.given_up}

    @property
    def beginning(self) -> int:
        """How many are being begun."""
        return len(self._beginning)

    def join(self, key: K, offset: int = 0) -> Share[P] | None:
        """Follow what is under way, if anything is."""
        production = self._running.get(key)
        if production is None or production.given_up:
            return None
        try:
            return Share(production, production.follow(offset), began=False)
        except SpoolFailed:
            return None  # it is over, and its end is being dealt with

    def begin(self, key: K, make: Callable[[], P]) -> P:
        """Return what is under way, or begin it; nobody has to follow what is worth finishing.

        :param make: makes the production; called only when none is under way.
        """
        production = self._running.get(key)
        if production is None or production.given_up:
            production = make()
            self._run(key, production)
        return production

    async def follow(
        self, key: K, begin: Callable[[], Coroutine[Any, Any, P | None]], offset: int = 0
    ) -> Share[P] | None:
        """Follow what is under way, or begin it.

        :param begin: makes the production, or None when there is to be none; called only when none is under way.
        :param offset: the byte from which on.
        :raise Exception: what ``begin`` has raised, the same for all who waited for it.
        """
        if (share := self.join(key, offset)) is not None:
            return share
        if (beginning := self._beginning.get(key)) is not None:
            return await self._turn(key, beginning, offset)
        beginning = self._beginning[key] = _Beginning()
        mine: Deferred[Share[P] | None] = Deferred(lambda gone: self._leave(key, beginning, gone))
        beginning.turns[mine] = offset
        beginning.work = Deferred.fromCoroutine(begin())
        beginning.work.addBoth(self._begun, key, beginning, mine)
        return await mine

    async def _turn(self, key: K, beginning: _Beginning[P], offset: int) -> Share[P] | None:
        turn: Deferred[Share[P] | None] = Deferred(lambda gone: self._leave(key, beginning, gone))
        beginning.turns[turn] = offset
        return await turn

    def _leave(self, key: K, beginning: _Beginning[P], turn: Deferred[Share[P] | None]) -> None:
        beginning.turns.pop(turn, None)
        if not beginning.turns and beginning.work is not None:
            self._forget_beginning(key, beginning)
            beginning.work.cancel()

    def _forget_beginning(self, key: K, beginning: _Beginning[P]) -> None:
        if self._beginning.get(key) is beginning:
            del self._beginning[key]

    def _begun(
        self, result: P | Failure | None, key: K, beginning: _Beginning[P], first: Deferred[Share[P] | None]
    ) -> None:
        self._forget_beginning(key, beginning)
        turns, beginning.turns = beginning.turns, {}
        shares: dict[Deferred[Share[P] | None], Share[P] | None] = dict.fromkeys(turns)
        failure = result if isinstance(result, Failure) else None
        if isinstance(result, Production):
            try:
                for turn, offset in turns.items():
                    shares[turn] = Share(result, result.follow(offset), began=turn is first)
            except Exception:
                failure = Failure()
                result.give_up()
            self._run(key, result)
        for turn, share in shares.items():
            self._hand_over(turn, share, failure)

    def _hand_over(self, turn: Deferred[Share[P] | None], share: Share[P] | None, failure: Failure | None) -> None:
        # Those who had their turn before may have made this one leave.
        if share is not None and (failure is not None or turn.called):
            share.source.close()
        if turn.called:
            return
        if failure is not None:
            turn.errback(failure)
        else:
            turn.callback(share)

    def _run(self, key: K, production: P) -> None:
        if not (production.spool.followers or production.worth_finishing()):
            production.give_up()
        if not production.given_up:
            self._running[key] = production
        self._going.add(production)
        self._start(self._go(key, production), f"receiving {key}")

    async def _go(self, key: K, production: P) -> None:
        try:
            await production.run()
        finally:
            if self._running.get(key) is production:
                del self._running[key]
            self._going.discard(production)
            production.settle()

    def _start_alone(self, work: Coroutine[Any, Any, None], what: str) -> None:
        Deferred.fromCoroutine(work).addErrback(lambda failure: self.log.failure("{what} failed", failure, what=what))

    async def settled(self) -> None:
        """Wait until everything that is under way now has ended, well or badly."""
        for production in list(self._going):
            await production.settled()

    async def stop(self) -> None:
        """Give up what is under way and being begun, and wait for its end."""
        for beginning in list(self._beginning.values()):
            if beginning.work is not None:
                beginning.work.cancel()
        for production in list(self._going):
            production.give_up()
        await self.settled()
