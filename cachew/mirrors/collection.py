"""All mirrors of this server: found at start, made on demand, at most one per repository."""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.logger import Logger

from cachew.mirrors.cloneattempts import CloneAttempts
from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.making import Seed
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import RECORD, MirrorRecord
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.repository import Repository, Stock
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.mirrors.standing import Standing
from cachew.mirrors.transfer import MirrorRemote
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import (
    CachewError,
    MirrorGone,
    NotFound,
    StorageFull,
    Superseded,
    UpstreamUnreachable,
)
from cachew.plumbing.jobs import Slots
from cachew.plumbing.shared import Shared
from cachew.plumbing.waiters import Waiters
from cachew.upstream.listing import Listing

_EMPTY_KEPT = 1000
_TRIES = 3
_AT_ONCE = 50
"""Mirrors that are opened together."""
_LEFT = 3600.0
"""Seconds for which the mirror of an ended instance is kept for the next one's use."""


class Mirrors:
    """The collection of mirrors.

    :param root: the directory that holds nothing but mirrors.
    :param remote: makes the way to a repository's upstream; raises ``UnknownPath`` for hosts that aren't admitted.
    :param resources: what mirrors share.
    :param slots: how many clones run at once.
    :param standing: knows the repositories' present instances.
    :param seed: fills a new mirror from a mirror snapshot, or None where there are none.
    :param listeners: who is told what becomes of mirrors.
    :param discovered: False when :meth:`discover` is still to come, before which nothing new is mirrored.
    :param min_free: bytes that the file system must have left before anything new is mirrored.
    :param free: tells how many it has.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(
        self,
        *,
        root: Path,
        remote: Callable[[Identity], MirrorRemote],
        resources: MirrorResources,
        slots: Slots,
        standing: Standing,
        seed: Seed | None = None,
        listeners: MirrorListeners | None = None,
        discovered: bool = True,
        min_free: int = 0,
        free: Callable[[Path], int] = free_bytes,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._root = MirrorRoot(path=root, grammar=grammar)
        self._remote = remote
        self._resources = resources
        self._listeners = MirrorListeners() if listeners is None else listeners
        self._threads = resources.git.threads
        self._clock = resources.clock
        self._metrics = resources.metrics
        self._background = resources.background
        self.first = resources.first
        self._slots = slots
        self._seed = seed
        self._standing = standing
        self._min_free, self._free = min_free, free
        self._discovered = discovered
        self._waiting = Waiters()
        self._mirrors: dict[Identity, Mirror] = {}
        self._attempts = CloneAttempts(clock=resources.clock)
        self._left: dict[Identity, float] = {}
        self._clones: Shared[Identity, None] = Shared(keep=True)
        self._after_clients: set[Identity] = set()

    def __iter__(self) -> Iterator[Mirror]:
        for mirror in list(self._mirrors.values()):
            self._let_go_if_removed(mirror)
        return iter([mirror for mirror in self._mirrors.values() if mirror.life.state is not MirrorState.EMPTY])

    def known(self) -> list[Mirror]:
        """Return those that there are, without a look at the disk, where one may have gone."""
        return [mirror for mirror in self._mirrors.values() if mirror.life.state is not MirrorState.EMPTY]

    def known_as(self, identity: Identity) -> Mirror | None:
        """Return a repository's mirror, or what failed to become one, without a look at the disk; None for neither."""
        mirror = self._mirrors.get(identity)
        return (
            mirror
            if mirror is not None and (mirror.life.state is not MirrorState.EMPTY or mirror.life.last_error)
            else None
        )

    def find(self, identity: Identity) -> Mirror | None:
        """Return the repository's mirror if it is known, ready or not."""
        mirror = self._mirrors.get(identity)
        if mirror is not None:
            self._let_go_if_removed(mirror)
        return self._mirrors.get(identity)

    def _let_go_if_removed(self, mirror: Mirror) -> None:
        """Forget a mirror whose directory somebody has removed, so that it is made again when it is asked for."""
        if not mirror.life.ready or os.path.lexists(mirror.directory / RECORD):
            return
        name = mirror.identity.name
        self.log.error("the mirror of {repository} was removed from the disk", repository=name)
        del self._mirrors[mirror.identity]
        self._listeners.changed(mirror.identity)
        self._count()
        self._background.start(mirror.abandon(), f"end of the removed mirror of {name}")

    def ready(self, identity: Identity) -> Mirror | None:
        """Return the repository's mirror if it serves."""
        mirror = self.find(identity)
        return mirror if mirror is not None and mirror.life.ready else None

    def obtain(self, identity: Identity) -> Mirror:
        """Return the repository's mirror, an empty one if there is none.

        :raise UnknownPath: when its host isn't admitted.
        """
        mirror = self.find(identity)
        if mirror is None:
            self._drop_empty()
            mirror = self._mirrors[identity] = self._new(identity)
        return mirror

    def _new(self, identity: Identity, predecessor: Mirror | None = None) -> Mirror:
        return Mirror(
            identity=identity,
            root=self._root,
            remote=self._remote(identity),
            standing=self._standing,
            resources=self._resources,
            listeners=replace(self._listeners, damaged=self._damaged),
            predecessor=predecessor,
        )

    def _damaged(self, identity: Identity, since: float) -> None:
        """Have what was made of a damaged mirror withdrawn, and the mirror made anew though nobody asks for it now."""
        self._listeners.damaged(identity, since)
        self._count()
        self.want(identity)

    def _drop_empty(self) -> None:
        """Names that never became mirrors must not fill the memory."""
        empty = [i for i, m in self._mirrors.items() if m.life.state is MirrorState.EMPTY and i not in self._clones]
        for identity in empty[: max(0, len(empty) - _EMPTY_KEPT)]:
            del self._mirrors[identity]
            self._listeners.changed(identity)
            self._attempts.forget(identity)
            self._drop_metrics(identity)

    # --- at start -----------------------------------------------------------------------------------------------------

    async def discover(self) -> None:
        """Open every mirror on disk; whatever else lies under the root is removed."""
        found = await self._threads(self._root.scan)
        for start in range(0, len(found), _AT_ONCE):
            await self._open(found[start : start + _AT_ONCE])
        self._count()
        self._discovered = True
        self._waiting.wake()

    async def _discovery(self) -> None:
        """Wait until it is known what is on disk."""
        if not self._discovered:
            await self._waiting.wait()

    async def _open(self, identities: Iterable[Identity]) -> None:
        mirrors = []
        for identity in identities:
            with self._not_served(identity):
                mirrors.append(self._new(identity))
        looked = await self._threads(_look_at, mirrors)
        for mirror, found in zip(mirrors, looked, strict=True):
            with self._not_served(mirror.identity):
                if isinstance(found, Exception):
                    raise found
                await mirror.take_up(found)
                self._mirrors[mirror.identity] = mirror
                self._listeners.changed(mirror.identity)

    @contextmanager
    def _not_served(self, identity: Identity) -> Iterator[None]:
        """Go on without a mirror that can't be opened."""
        try:
            yield
        except CachewError as error:
            # A host that the config no longer names keeps its mirrors on disk, unserved.
            self.log.warn("not serving {repository}: {error}", repository=identity.name, error=str(error))
        except (OSError, ValueError):
            self.log.failure("not serving {repository}: it can't be opened", repository=identity.name)

    def _count(self) -> None:
        self._metrics.mirrors.set(sum(mirror.life.ready for mirror in self._mirrors.values()))

    # --- on demand ----------------------------------------------------------------------------------------------------

    def want(self, identity: Identity) -> None:
        """Have the repository mirrored, in the background, unless it is or has just failed to be."""
        mirror = self.obtain(identity)
        if mirror.life.state is not MirrorState.EMPTY or identity in self._clones:
            return
        if self._discovered and self._attempts.may_begin(identity):
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
        await self._discovery()
        for _ in range(_TRIES):
            mirror = self.obtain(identity)
            mirror.verification.intact()
            await mirror.verification.settled()
            if mirror.life.ready:
                return mirror
            if identity not in self._clones and not self._attempts.may_begin(identity):
                raise self._attempts.error(identity, url=mirror.upstream_url, reason=mirror.life.last_error)
            with suppress(Superseded):
                await self._clones.run(identity, partial(self._clone, mirror))
                if self.obtain(identity) is mirror:
                    break
            # It has become another repository meanwhile.
        mirror = self.obtain(identity)
        if not mirror.life.ready:
            raise UpstreamUnreachable(mirror.upstream_url, f"its mirror is {mirror.life.state.value}")
        return mirror

    async def present(self, identity: Identity) -> Mirror:
        """Return the repository's mirror if it is ready: for work that no client has asked for.

        :raise MirrorGone: when it is not, as when it has just been forgotten for want of room.
        """
        mirror = self.ready(identity)
        if mirror is None:
            raise MirrorGone(f"{identity.name} is not mirrored any more")
        return mirror

    def try_again(self, identity: Identity) -> None:
        """Have the next attempt made as soon as it is wanted: what it failed for may be over."""
        self._attempts.forget(identity)

    async def _clone(self, mirror: Mirror) -> None:
        identity = mirror.identity
        try:
            async with self._slots.take(identity.name):
                if mirror.life.state is not MirrorState.EMPTY:
                    return
                await self._check_room(identity)
                await mirror.clone(self._seed)
        except Superseded:
            raise
        except Exception as failure:
            self._attempts.note(identity, failure)
            if not isinstance(failure, NotFound):
                mirror.life.last_error = str(failure)
                self._listeners.changed(identity)
            raise
        self._attempts.forget(identity)
        self._count()
        self._listeners.made(identity)
        self._listeners.grown(identity)

    async def _check_room(self, identity: Identity) -> None:
        if not self._min_free:
            return
        free = await self._threads(self._free, self._root.path)
        if free < self._min_free:
            raise StorageFull(f"{identity.name} is not mirrored: the disk has only {free} bytes left")

    # --- instances ----------------------------------------------------------------------------------------------------

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""
        mirror = self._mirrors.get(instance.identity)
        if mirror is None or mirror.life.instance != instance or mirror.life.state is MirrorState.EMPTY:
            return None
        return mirror.refs.recognises(listing)

    def ended(self, instance: Instance) -> None:
        """Serve nothing more of an instance; what its mirror has is of use when another one is made."""
        mirror = self._mirrors.get(instance.identity)
        if mirror is not None and mirror.life.instance == instance:
            mirror.end()
            self._mirrors[instance.identity] = self._new(instance.identity, mirror)
            self._listeners.changed(instance.identity)
            self._left[instance.identity] = self._clock.seconds()
            self._attempts.forget(instance.identity)
            self._count()

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read all that is in the mirrors; one that is damaged is mended or made anew.

        :param pace: awaited after each file with the bytes that were read.
        """
        for mirror in list(self):
            await _scrub(mirror, pace)

    async def examine(self, identity: Identity) -> None:
        """Read all that is in one mirror now; if it is damaged, it is mended or made anew."""
        mirror = self.find(identity)
        if mirror is not None:
            await _scrub(mirror, _at_once)

    async def remove_left(self) -> None:
        """Remove mirrors of ended instances in whose place none has been made for long: it has no use any more."""
        now = self._clock.seconds()
        for identity, since in list(self._left.items()):
            mirror = self._mirrors.get(identity)
            if mirror is not None and mirror.life.state is not MirrorState.EMPTY:
                del self._left[identity]
            elif now - since >= _LEFT:
                del self._left[identity]
                await self.forget(identity)

    async def stop(self) -> None:
        """Break off every clone, fetch and check under way, and wait until it is cleaned up."""
        await self._clones.stop()
        for mirror in list(self._mirrors.values()):
            await mirror.stop()

    async def forget(self, identity: Identity) -> None:
        """Remove a repository's mirror."""
        mirror = self._mirrors.get(identity)
        if mirror is not None:
            await mirror.forget()
            self._attempts.forget(identity)
            self._count()
        self._drop_metrics(identity)
        self._listeners.forgotten(identity)

    def _drop_metrics(self, identity: Identity) -> None:
        with suppress(KeyError):
            self._metrics.clones.remove(identity.name)


async def _scrub(mirror: Mirror, pace: Callable[[int], Awaitable[object]]) -> None:
    repository = mirror.place.found
    if repository is not None and not await repository.scrub(pace) and mirror.place.found is repository:
        mirror.verification.doubt(serving=False, failed=False)


async def _at_once(size: int) -> None:
    """Read on."""


def _look_at(mirrors: Iterable[Mirror]) -> list[tuple[MirrorRecord, Repository, Stock] | Exception | None]:
    """See what is at the places of mirrors (blocking)."""
    found: list[tuple[MirrorRecord, Repository, Stock] | Exception | None] = []
    for mirror in mirrors:
        try:
            found.append(mirror.look())
        except (CachewError, OSError, ValueError) as error:
            found.append(error)
    return found
