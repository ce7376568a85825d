"""Productions by what they are of: begun once for all who ask, and joined by whoever comes later.

Whoever asks is given his share (or a failure) in the same turn in which the production is there, and only then anything
is received; whatever happens to those who asked, how and when they leave, one that has ended leaves no entry behind.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.production import Production
from cachew.plumbing.streams import FiledSource

K = TypeVar("K")
P = TypeVar("P", bound=Production)

_log = Logger()


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
    """A production that is being begun, and those who wait for it with the bytes from which they will follow.

    :param forget: called when nobody waits any more.
    """

    def __init__(self, forget: "Callable[[_Beginning[P]], object]") -> None:
        self._forget = forget
        self.turns: dict[Deferred[Share[P] | None], int] = {}
        self.work: Deferred[P | None] | None = None

    def turn(self, offset: int) -> Deferred[Share[P] | None]:
        """Wait for it; whoever is the last to leave before it is there ends it."""
        turn: Deferred[Share[P] | None] = Deferred(self._leave)
        self.turns[turn] = offset
        return turn

    def _leave(self, turn: Deferred[Share[P] | None]) -> None:
        self.turns.pop(turn, None)
        if not self.turns and self.work is not None:
            self._forget(self)
            self.work.cancel()


class Followed(Generic[K, P]):
    """Productions by what they are of: at most one that is begun and one that is under way.

    :param start: runs what goes on behind; by default whatever it fails with is logged.
    """

    def __init__(self, *, start: Callable[[Coroutine[Any, Any, None], str], object] | None = None) -> None:
        self._start = start or _start_alone
        self._beginning: dict[K, _Beginning[P]] = {}
        self._running: dict[K, P] = {}
        self._going: set[P] = set()
        self._stuck: set[Path] = set()

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
        if (under_way := self._beginning.get(key)) is not None:
            return await under_way.turn(offset)
        beginning: _Beginning[P] = _Beginning(lambda left: self._forget_beginning(key, left))
        self._beginning[key] = beginning
        mine = beginning.turn(offset)
        beginning.work = Deferred.fromCoroutine(begin())
        beginning.work.addBoth(self._begun, key, beginning, mine)
        return await mine

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
            _hand_over(turn, share, failure)

    def _run(self, key: K, production: P) -> None:
        self._remove_what_was_stuck()
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
            if production.stuck:
                self._stuck.add(production.spool.path)
            production.settle()

    def _remove_what_was_stuck(self) -> None:
        """Try to remove spools again that the disk did not let go."""
        for path in list(self._stuck):
            with suppress(OSError):
                path.unlink(missing_ok=True)
                self._stuck.discard(path)

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


def _hand_over(turn: Deferred[Share[P] | None], share: Share[P] | None, failure: Failure | None) -> None:
    # Those who had their turn before may have made this one leave.
    if share is not None and (failure is not None or turn.called):
        share.source.close()
    if turn.called:
        return
    if failure is not None:
        turn.errback(failure)
    else:
        turn.callback(share)


def _start_alone(work: Coroutine[Any, Any, None], what: str) -> None:
    Deferred.fromCoroutine(work).addErrback(lambda failure: _log.failure("{what} failed", failure, what=what))
