"""Whether a mirror is sound: found out when it is in doubt, and before anything is made of it.

A mirror is in doubt when git has failed on it, or when somebody else has written to its packs. Whatever git said, the
doubt is settled by looking: first at every file that has a checksum or a form, which takes a second for a gigabyte, and
meanwhile the upstream answers; then, with the mirror serving again, at what the refs reach. Who makes git fail on
purpose does not have it look again and again.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.examination import DamagedFiles
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError, CorruptObject
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


class Examined(Protocol):
    """A repository on disk, as far as it is examined."""

    def changed(self) -> str:
        """Return a file that was written to by somebody else since it was verified, or nothing."""

    async def disconnected(self) -> CachewError | None:
        """Return what is missing that the refs reach."""


class Patient(Protocol):
    """The mirror that is verified."""

    def examined(self) -> Examined | None:
        """Return its repository, None while there is none."""

    async def examine(self, *, contents: bool) -> DamagedFiles:
        """Look for damage."""

    async def mend(self, found: DamagedFiles) -> None:
        """Mend what can be mended in its place."""

    async def lose(self, reason: str) -> None:
        """Give it up; it is made anew."""


class Verification:
    """Verifies one mirror.

    :param name: the repository's, for the log.
    :param mirror: what is verified.
    :param alone: holds the mirror's locks.
    :param undisturbed: holds off whatever takes packs away.
    :param reactor: bounds waits, and tells how long ago what was.
    :param background: where looks go on that nobody waits for.
    :param places: bounds how many mirrors are read at a time.
    :param metrics: counts how looks ended.
    :param on_changed: told when it comes to be in doubt, or no longer is.
    """

    log = Logger()

    def __init__(
        self,
        *,
        name: str,
        mirror: Patient,
        alone: Callable[[], AbstractAsyncContextManager[None]],
        undisturbed: Callable[[], AbstractAsyncContextManager[None]],
        reactor: IReactorTime,
        background: Background,
        places: Slots,
        metrics: Metrics,
        on_changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._name, self._mirror = name, mirror
        self._alone, self._undisturbed = alone, undisturbed
        self._reactor = reactor
        self._background = background
        self._places = places
        self._metrics = metrics
        self._on_changed = on_changed
        self._looks: Shared[str, None] = Shared(keep=True)
        self._seen: Examined | None = None
        self._read_at = self._again = self._connected_again = float("-inf")
        self._failure_to_explain = False
        self.in_doubt = False

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
        repository = self._mirror.examined()
        if repository is None:
            return
        self._failure_to_explain |= failed
        if not serving or repository.changed():
            self.in_doubt = True
            self._on_changed()
        if not self.looking:
            self._background.start(self.look(), f"check of {self._name}")

    async def look(self) -> None:
        """Find out whether the mirror is damaged, unless that was done lately and nothing was written to since.

        :raise CachewError: when it was, and is given up.
        """
        await self._looks.run("look", self._look)
        if self._failure_to_explain and self._reactor.seconds() >= self._connected_again:
            await self._looks.run("connected", self._check_connected)

    async def settled(self) -> None:
        """Wait until a doubt is settled; how, shows in the mirror."""
        if self.in_doubt and self.looking:
            try:
                await self._looks.run("look", self._look)
            except CachewError as error:
                self.log.debug("{repository}: {error}", repository=self._name, error=str(error))

    async def settled_soon(self) -> None:
        """Wait until a doubt is settled, but no longer than what that takes for a mirror of ordinary size."""
        if not self.in_doubt:
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
        return self._mirror.examined() is not None

    async def _look(self, fresh: float | None = None) -> None:
        try:
            async with self._alone(), self._places.take(self._name):
                repository = self._mirror.examined()
                if repository is None:
                    return
                self._meet(repository)
                await self._read(contents=self._is_due(repository, fresh))
        finally:
            # It is sound, or mended, or gone; or it could not be read, which proves nothing.
            self.in_doubt = False
            self._on_changed()

    def _meet(self, repository: Examined) -> None:
        if repository is not self._seen:
            self._seen = repository
            self._read_at = self._again = self._connected_again = float("-inf")

    def _is_due(self, repository: Examined, fresh: float | None) -> bool:
        now = self._reactor.seconds()
        lately = now < self._again if fresh is None else now < self._read_at + fresh
        return not lately or bool(repository.changed())

    async def _read(self, *, contents: bool) -> None:
        started = self._reactor.seconds()
        found = await self._mirror.examine(contents=contents)
        if found.objects:
            self._count("damaged")
            await self._mirror.lose(str(found))
            raise CorruptObject(f"the mirror of {self._name} is damaged: {found}")
        if found:
            self._count("mended")
            await self._mirror.mend(found)
        else:
            self._count("sound")
        if contents:
            ended = self._reactor.seconds()
            self._read_at = started
            self._again = ended + max(_SHORTEST_PAUSE, _REST * (ended - started))

    async def _check_connected(self) -> None:
        self._failure_to_explain = False
        started = self._reactor.seconds()
        async with self._undisturbed():
            repository = self._mirror.examined()
            damage = await repository.disconnected() if repository is not None else None
        ended = self._reactor.seconds()
        self._connected_again = ended + max(_CONNECTED_PAUSE, _REST * (ended - started))
        if damage is None:
            return
        async with self._alone():
            if self._mirror.examined() is repository:
                self._count("damaged")
                await self._mirror.lose(str(damage))
        raise damage

    def _count(self, outcome: str) -> None:
        self._metrics.mirror_checks.labels(outcome).inc()

    async def stop(self) -> None:
        """Break off the look under way, which no waiter's end breaks off."""
        await self._looks.stop()
