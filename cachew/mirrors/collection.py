"""All mirrors of this server, at most one per repository."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from twisted.logger import Logger

from cachew.mirrors.cloneattempts import CloneAttempts
from cachew.mirrors.firstlooks import FirstLooks
from cachew.mirrors.identity import Identity
from cachew.mirrors.instances import Instances
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import RECORD
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.plumbing.metrics import Metrics
from cachew.upstream.remotes import Remote

_EMPTY_KEPT = 1000


class Mirrors:
    """The collection of mirrors.

    :param root: where they lie.
    :param remote: makes the way to a repository's upstream; raises ``UnknownPath`` for hosts that aren't admitted.
    :param resources: what mirrors share.
    :param standing: knows the repositories' present instances.
    :param listeners: who is told what becomes of mirrors.
    :ivar changes: how often anything has changed that people see of one.
    :ivar attempts: those to make one.
    :ivar first_looks: at those on disk that were not opened yet, which are none of these until then.
    """

    log = Logger()

    def __init__(
        self,
        *,
        root: MirrorRoot,
        remote: Callable[[Identity], Remote],
        resources: MirrorResources,
        standing: Instances,
        listeners: MirrorListeners,
    ) -> None:
        self._root = root
        self._remote = remote
        self._resources = resources
        self._standing = standing
        self.changes = 0

        def changed(identity: Identity) -> None:
            self.changes += 1
            self._count(identity)
            listeners.changed(identity)

        self._listeners = replace(listeners, changed=changed)
        self._metrics = resources.metrics
        self._background = resources.background
        self._mirrors: dict[Identity, Mirror] = {}
        self._serving: set[Identity] = set()
        self.attempts = CloneAttempts(
            clock=resources.clock, ref_interval=resources.ref_interval, changes=resources.changes
        )
        self.first_looks = FirstLooks(
            new=self.new, adopt=self.adopt, threads=resources.git.threads, reactor=resources.reactor
        )

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
        if not was_removed(mirror):
            return
        name = mirror.identity.name
        self.log.error("the mirror of {repository} was removed from the disk", repository=name)
        del self._mirrors[mirror.identity]
        self._listeners.changed(mirror.identity)
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
            mirror = self._mirrors[identity] = self.new(identity)
        return mirror

    def new(self, identity: Identity, predecessor: Mirror | None = None) -> Mirror:
        """Return a mirror that is not among these yet.

        :param predecessor: the mirror of an instance that has ended, whose directory this one's will be.
        :raise UnknownPath: when its host isn't admitted.
        """
        return Mirror(
            identity=identity,
            root=self._root,
            remote=self._remote(identity),
            standing=self._standing,
            resources=self._resources,
            listeners=self._listeners,
            predecessor=predecessor,
        )

    def adopt(self, mirror: Mirror) -> None:
        """Take a mirror among these, in the place of the repository's one before."""
        self._mirrors[mirror.identity] = mirror
        self._listeners.changed(mirror.identity)

    def _drop_empty(self) -> None:
        """Names that never became mirrors must not fill the memory."""
        empty = [
            i for i, m in self._mirrors.items() if m.life.state is MirrorState.EMPTY and not self.attempts.under_way(i)
        ]
        for identity in empty[: max(0, len(empty) - _EMPTY_KEPT)]:
            del self._mirrors[identity]
            self._listeners.changed(identity)
            self.attempts.forget(identity)
            _drop_metrics(self._metrics, identity)

    def _count(self, identity: Identity) -> None:
        """Count those that serve, of which one may have begun to, or serve no more."""
        mirror = self._mirrors.get(identity)
        if mirror is not None and mirror.life.ready:
            self._serving.add(identity)
        else:
            self._serving.discard(identity)
        self._metrics.mirrors.set(len(self._serving))

    async def stop(self) -> None:
        """Break off every look, fetch and check under way, and wait until it is cleaned up."""
        await self.first_looks.stop()
        for mirror in list(self._mirrors.values()):
            await mirror.stop()

    async def forget(self, identity: Identity) -> None:
        """Remove a repository's mirror."""
        await self.first_looks.look(identity)
        mirror = self._mirrors.get(identity)
        if mirror is not None:
            await mirror.forget()
            self.attempts.forget(identity)
        _drop_metrics(self._metrics, identity)
        self._listeners.forgotten(identity)


def _drop_metrics(metrics: Metrics, identity: Identity) -> None:
    with suppress(KeyError):
        metrics.clones.remove(identity.name)


def was_removed(mirror: Mirror) -> bool:
    """Whether a mirror is not on disk any more that should be (blocking)."""
    return mirror.life.ready and not os.path.lexists(f"{mirror.directory}/{RECORD}")


async def scrub(mirrors: Mirrors, pace: Callable[[int], Awaitable[object]]) -> None:
    """Read all that is in the mirrors; one that is damaged is mended or made anew.

    :param pace: awaited after each file with the bytes that were read.
    """
    await mirrors.first_looks.over()
    for mirror in list(mirrors):
        await _scrub(mirror, pace)


async def examine(mirror: Mirror) -> None:
    """Read all that is in one mirror now; if it is damaged, it is mended or made anew."""
    await _scrub(mirror, _at_once)


async def _scrub(mirror: Mirror, pace: Callable[[int], Awaitable[object]]) -> None:
    repository = mirror.place.found
    if repository is not None and not await repository.scrub(pace) and mirror.place.found is repository:
        mirror.verification.doubt(serving=False, failed=False)


async def _at_once(size: int) -> None:
    """Read on."""
