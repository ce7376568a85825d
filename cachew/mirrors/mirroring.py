"""How repositories come to be mirrored: when somebody asks for them, one attempt at a time, and where there is room.

At the start nothing new is mirrored before it is known what is on disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachew.mirrors.cloneattempts import CloneAttempts
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.discovery import Discovery
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.making import Seed
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import (
    MirrorGone,
    NotFound,
    StorageFull,
    StorageUnavailable,
    Superseded,
    UpstreamUnreachable,
)
from cachew.plumbing.jobs import Slots
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import Threads

_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class MirrorRoom:
    """The room for new mirrors.

    :param path: where they lie.
    :param threads: for looking.
    :param least: bytes that the file system must have left before anything new is mirrored.
    :param free: tells how many it has.
    """

    path: Path
    threads: Threads
    least: int = 0
    free: Callable[[Path], int] = free_bytes

    async def require(self, identity: Identity) -> None:
        """See that there is room for another one.

        :raise StorageFull: when there is none.
        """
        if not self.least:
            return
        free = await self.threads(self.free, self.path)
        if free < self.least:
            raise StorageFull(f"{identity.name} is not mirrored: the disk has only {free} bytes left")


class Mirroring:
    """Has repositories mirrored.

    :param mirrors: the mirrors that there are.
    :param discovery: finds those on disk.
    :param resources: what mirrors share.
    :param listeners: who is told what becomes of them.
    :param slots: how many are made at once.
    :param room: the room for them.
    :param seed: fills a new one from a mirror snapshot, or None where there are none.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        discovery: Discovery,
        resources: MirrorResources,
        listeners: MirrorListeners,
        slots: Slots,
        room: MirrorRoom,
        seed: Seed | None = None,
    ) -> None:
        self._mirrors = mirrors
        self._discovery = discovery
        self._listeners = listeners
        self._background = resources.background
        self._slots = slots
        self._room = room
        self._seed = seed
        self._attempts: CloneAttempts = mirrors.attempts
        self._clones: Shared[Identity, None] = Shared(keep=True)
        self.first = resources.first
        """What clients receive of repositories that have no mirror yet."""
        self._after_clients: set[Identity] = set()

    def want(self, identity: Identity) -> None:
        """Have the repository mirrored, in the background, unless it is or has just failed to be."""
        mirror = self._mirrors.obtain(identity)
        if mirror.life.state is not MirrorState.EMPTY or identity in self._clones:
            return
        if not self._discovery.done or identity in self._mirrors.first_looks.unseen:
            return
        if self._attempts.may_begin(identity):
            self._background.start(self.made(identity), f"clone of {identity.name}")

    def want_after(self, identity: Identity) -> None:
        """Have the repository mirrored when the client has been served that has just asked for it.

        What it receives need not be received again; see :mod:`cachew.mirrors.firstclones`.
        """
        self.first.asked(identity)
        if identity not in self._after_clients:
            self._after_clients.add(identity)
            self._background.start(self._want_after(identity), f"clone of {identity.name}")

    async def _want_after(self, identity: Identity) -> None:
        try:
            await self.first.served(identity)
        finally:
            self._after_clients.discard(identity)
        self.want(identity)

    async def made(self, identity: Identity) -> Mirror:
        """Return the repository's mirror when it is ready, making it now if there is none.

        :raise CachewError: when it can't be made; for a while after a failure that is not tried again.
        """
        await self._discovery.wait()
        await self._mirrors.first_looks.look(identity)
        for _ in range(_TRIES):
            mirror = self._mirrors.obtain(identity)
            mirror.verification.intact()
            await mirror.verification.settled()
            if mirror.life.ready:
                return mirror
            if identity not in self._clones and not self._attempts.may_begin(identity):
                raise self._attempts.error(identity, url=mirror.upstream_url, reason=mirror.life.last_error)
            try:
                await self._clones.run(identity, partial(self._clone, mirror))
            except Superseded as ended:
                if isinstance(ended.__cause__, StorageUnavailable):
                    raise ended.__cause__ from None
                continue  # it has become another repository meanwhile
            if self._mirrors.obtain(identity) is mirror:
                break
        mirror = self._mirrors.obtain(identity)
        if not mirror.life.ready:
            raise UpstreamUnreachable(mirror.upstream_url, f"its mirror is {mirror.life.state.value}")
        return mirror

    async def present(self, identity: Identity) -> Mirror:
        """Return the repository's mirror if it is ready: for work that no client has asked for.

        :raise MirrorGone: when it is not, as when it has just been forgotten for want of room.
        """
        mirror = self._mirrors.ready(identity)
        if mirror is None:
            raise MirrorGone(f"{identity.name} is not mirrored any more")
        return mirror

    def lost(self, identity: Identity) -> None:
        """Have a repository mirrored anew whose mirror was damaged, though nobody asks for it now."""
        self._attempts.lost(identity)
        self.want(identity)

    def try_again(self, identity: Identity) -> None:
        """Have the next attempt made as soon as it is wanted: what it failed for may be over."""
        self._attempts.forget(identity)

    async def _clone(self, mirror: Mirror) -> None:
        with self._attempts.making(mirror.identity):
            made = await self._try(mirror)
        if not made:
            return
        self._attempts.made(mirror.identity)
        self._listeners.made(mirror.identity)
        self._listeners.grown(mirror.identity)

    async def _try(self, mirror: Mirror) -> bool:
        """Make a mirror; say whether there was none."""
        identity = mirror.identity
        try:
            async with self._slots.take(identity.name):
                if mirror.life.state is not MirrorState.EMPTY:
                    return False
                await self._room.require(identity)
                await mirror.clone(self._seed)
                return True
        except Superseded:
            raise
        except Exception as failure:
            self._attempts.note(identity, failure)
            if not isinstance(failure, NotFound):
                mirror.life.last_error = str(failure)
                self._listeners.changed(identity)
            raise

    async def stop(self) -> None:
        """Break off every clone, fetch and check under way, and wait until it is cleaned up."""
        await self._clones.stop()
        await self._mirrors.stop()
