"""What the schedule's tasks do: make an archive again if it would differ, or whatever else was handed in.

The mirror is brought to where its upstream is before: the replica whose turn it is may be one that no client has asked
for the repository lately.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import MirrorGone, NotFound
from cachew.snapshots.bundle import tip_of
from cachew.snapshots.schedule import Stored, worth_making
from cachew.snapshots.sourcemirror import FindMirror
from cachew.snapshots.store import COMMIT_HEADER, REFS_HEADER, Snapshots
from cachew.snapshots.variants import MIRROR, Variant, from_name

Chore = Callable[[Identity], Awaitable[object]]
"""Something that is done to a repository now and then; says whether something was made."""

Refresh = Callable[[Identity], Awaitable[bool]]
"""Brings a mirror to where its upstream is; says whether it is there."""


class Upkeep:
    """Performs tasks by name.

    :param snapshots: where archives are made.
    :param find_mirror: gives the mirror that is ready, or None.
    :param refresh: brings mirrors up to date.
    :param chores: what is no archive, by the task's name.
    :param clock: tells how old an archive is.
    :param max_age: seconds after which even an unchanged archive is made again.
    """

    log = Logger()

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        find_mirror: FindMirror,
        refresh: Refresh,
        chores: Mapping[str, Chore],
        clock: Clock,
        max_age: float = 86400.0,
    ) -> None:
        self._snapshots = snapshots
        self._find_mirror = find_mirror
        self._chores = chores
        self._refresh = refresh
        self._clock = clock
        self.keep_for(max_age)

    def keep_for(self, max_age: float) -> None:
        """Make even unchanged archives again after so many seconds from now on."""
        self._max_age = max_age

    async def perform(self, identity: Identity, name: str) -> bool:
        """Do a task.

        :return: whether anything was made.
        :raise MirrorGone: when there is no mirror that is ready, which leaves the repository alone.
        :raise Exception: what it failed with.
        """
        mirror = await self._present(identity)
        if (chore := self._chores.get(name)) is not None:
            return bool(await chore(identity))
        return await self._archive(mirror, from_name(name))

    async def _archive(self, mirror: Mirror, variant: Variant) -> bool:
        current = await self._refresh(mirror.identity)
        mark = mark_of(mirror, variant)
        if mark is None:
            return False
        stored = await self._stored(mirror.instance, variant)
        if not worth_making(stored, mark, self._clock.now(), self._max_age, current=current):
            return False
        try:
            await self._make(mirror.instance, variant)
        except NotFound as reason:
            self.log.debug("no {variant}: {reason}", variant=variant.name, reason=reason)
            return False
        return True

    async def _make(self, instance: Instance, variant: Variant) -> None:
        try:
            await self._snapshots.produce(instance, variant, find=self._present).ended()
        except CancelledError:
            # Another replica may be at it by now.
            self._snapshots.give_up(instance, variant)
            raise

    async def _present(self, identity: Identity) -> Mirror:
        """Return a mirror that is there; one that was forgotten meanwhile is not made again for a schedule's sake."""
        mirror = self._find_mirror(identity)
        if mirror is None:
            raise MirrorGone(f"{identity.name} is not mirrored now")
        return mirror

    async def _stored(self, instance: Instance, variant: Variant) -> Stored | None:
        info = await self._snapshots.stat(instance, variant)
        if info is None:
            return None
        header = REFS_HEADER if variant.kind == MIRROR else COMMIT_HEADER
        return Stored(info.headers.get(header, ""), info.modified)


def mark_of(mirror: Mirror, variant: Variant) -> str | None:
    """Return what an archive of a mirror would be made of now; None when there is nothing to make it of."""
    if variant.kind != MIRROR:
        return tip_of(mirror, variant.ref)
    return refs_mark(mirror.refs.by_name) if mirror.refs.by_name else None


def refs_mark(refs: Mapping[str, str]) -> str:
    """Return a digest of refs."""
    text = "\n".join(f"{refs[name]} {name}" for name in sorted(refs))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
