"""Whether a mirror is sound: found out when it is in doubt, and before anything is made of it.

A mirror is in doubt when git has failed on it, or when somebody else has written to its packs. Whatever git said, the
doubt is settled by looking: first at every file that has a checksum or a form, which takes a second for a gigabyte, and
meanwhile the upstream answers; then, with the mirror serving again, at what the refs reach. Who makes git fail on
purpose does not have it look again and again.
"""

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.damage import Damage
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.locks import MirrorLocks
from cachew.mirrors.repository import Repository
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError, CorruptObject, MirrorGone, ProcessFailed
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.shared import Shared

_SHORTEST_PAUSE = 15.0
_REST = 100
"""So many times as long as a look took nobody's failing makes the server look again."""
_CONNECTED_PAUSE = 600.0
VERDICT_WAIT = 2.0
"""Seconds that a client of a mirror in doubt waits, in which a gigabyte or two is read; then the upstream is asked."""
FRESH = 60.0
"""Seconds for which what was read and has not been written to since need not be read again."""


class Verification:
    """Verifies one mirror.

    :param life: what becomes of it.
    :param damage: finds and heals damage.
    :param locks: its locks.
    :param reactor: bounds waits, and tells how long ago what was.
    :param background: where looks go on that nobody waits for.
    :param places: bounds how many mirrors are read at a time.
    :param metrics: counts how looks ended.
    """

    log = Logger()

    def __init__(
        self,
        *,
        life: MirrorLife,
        damage: Damage,
        locks: MirrorLocks,
        reactor: IReactorTime,
        background: Background,
        places: Slots,
        metrics: Metrics,
    ) -> None:
        self._life = life
        self._damage = damage
        self._locks = locks
        self._reactor = reactor
        self._background = background
        self._places = places
        self._metrics = metrics
        self._looks: Shared[str, None] = Shared(keep=True)
        self._seen: Repository | None = None
        self._read_at = self._again = self._connected_again = float("-inf")
        self._failure_to_explain = False

    @property
    def looking(self) -> bool:
        """Whether somebody is looking."""
        return "look" in self._looks

    def doubt(self, *, serving: bool, failed: bool = True) -> None:
        """Take note that something may be damaged, and have it found out.

        :param serving: whether the mirror may go on answering until then, as long as nobody is seen to have written
            to it.
        :param failed: whether git has failed, rather than a file been seen changed.
        """
        repository = self._damage.place.found
        if repository is None:
            return
        self._failure_to_explain |= failed
        if not serving or repository.ledger.touched():
            self._life.in_doubt = True
        if not self.looking:
            self._background.start(self.look(), f"check of {self._life.identity.name}")

    def git_failed(self, failure: ProcessFailed | CorruptObject) -> None:
        """Take note that git has failed on the mirror, or would have, had it not passed over what is damaged."""
        # A fetch fails for its upstream's sake most of the time.
        fetching = isinstance(failure, ProcessFailed) and failure.command == "git fetch"
        self.doubt(serving=fetching, failed=not fetching)

    def intact(self) -> bool:
        """Say whether nobody has written to its packs since they were verified; otherwise they are looked at at once.

        This costs a look at each file's inode, so it can be asked before every answer.
        """
        repository = self._damage.place.found
        if repository is None or not repository.ledger.touched():
            return True
        self.doubt(serving=False, failed=False)
        return False

    async def look(self) -> None:
        """Find out whether the mirror is damaged, unless that was done lately and nothing was written to since.

        :raise CachewError: when it was, and is given up.
        """
        await self._looks.run("look", self._look)
        if self._failure_to_explain and self._reactor.seconds() >= self._connected_again:
            await self._looks.run("connected", self._check_connected)

    async def settled(self) -> None:
        """Wait until a doubt is settled; how, shows in the mirror."""
        if self._life.in_doubt and self.looking:
            try:
                await self._looks.run("look", self._look)
            except (CachewError, OSError) as error:
                self.log.debug("{repository}: {error}", repository=self._life.identity.name, error=str(error))

    async def settled_soon(self) -> None:
        """Wait until a doubt is settled, but no longer than what that takes for a mirror of ordinary size."""
        if not self._life.in_doubt:
            return
        waiting = Deferred.fromCoroutine(self.settled()).addTimeout(VERDICT_WAIT, self._reactor)
        with suppress(DeferredTimeout):
            await waiting

    async def proven(self) -> bool:
        """Look at everything before something is made of the mirror; say whether it is sound.

        :raise OSError: when it can't be read.
        """
        try:
            await self._looks.run("look", lambda: self._look(fresh=FRESH))
        except CorruptObject:
            return False
        return self._damage.place.found is not None

    async def prove(self) -> Callable[[], None]:
        """Have everything in it verified before something is made of it.

        :return: what raises :class:`CorruptObject` when it is not what was verified any more, and
            :class:`MirrorGone` when it was forgotten.
        :raise CorruptObject: when it is damaged; it is made anew then.
        """
        name, life, damage = self._life.identity.name, self._life, self._damage
        if not await self.proven():
            raise CorruptObject(f"the mirror of {name} is damaged and is made anew")
        generation, damaged_at = life.generation, damage.at

        def check() -> None:
            if life.generation != generation and damage.at == damaged_at:
                raise MirrorGone(f"the mirror of {name} was forgotten meanwhile")
            if life.generation != generation or not self.intact():
                raise CorruptObject(f"the mirror of {name} was damaged meanwhile")

        return check

    async def _look(self, fresh: float | None = None) -> None:
        try:
            async with self._locks.alone(), self._places.take(self._life.identity.name):
                repository = self._damage.place.found
                if repository is None:
                    return
                if repository is not self._seen:
                    self._seen = repository
                    self._read_at = self._again = self._connected_again = float("-inf")
                now = self._reactor.seconds()
                lately = now < self._again if fresh is None else now < self._read_at + fresh
                await self._read(contents=not lately or bool(repository.ledger.touched()))
        finally:
            # It is sound, or mended, or gone; or it could not be read, which proves nothing.
            self._life.in_doubt = False

    async def _read(self, *, contents: bool) -> None:
        started = self._reactor.seconds()
        found = await self._damage.examine(contents=contents)
        if found.objects or (found and not await self._damage.mend(found)):
            self._count("damaged")
            await self._damage.lose(str(found))
            raise CorruptObject(f"the mirror of {self._life.identity.name} is damaged: {found}")
        self._count("mended" if found else "sound")
        if contents:
            ended = self._reactor.seconds()
            self._read_at = started
            self._again = ended + max(_SHORTEST_PAUSE, _REST * (ended - started))

    async def _check_connected(self) -> None:
        self._failure_to_explain = False
        started = self._reactor.seconds()
        async with self._locks.undisturbed():
            repository = self._damage.place.found
            damage = await repository.disconnected() if repository is not None else None
        ended = self._reactor.seconds()
        self._connected_again = ended + max(_CONNECTED_PAUSE, _REST * (ended - started))
        if damage is None:
            return
        async with self._locks.alone():
            if self._damage.place.found is repository:
                self._count("damaged")
                await self._damage.lose(str(damage))
        raise damage

    def _count(self, outcome: str) -> None:
        self._metrics.mirror_checks.labels(outcome).inc()

    async def stop(self) -> None:
        """Break off the look under way, which no waiter's end breaks off."""
        await self._looks.stop()
