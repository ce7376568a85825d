"""The archives of repositories: found in the cache, or made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cachew.cache.interface import Cache, ObjectInfo
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.framewriter import Sink
from cachew.snapshots.archive import Archiver
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions
from cachew.snapshots.sourcemirror import ReadyMirror, require
from cachew.snapshots.storedproduction import StoredProduction, with_its_mirror
from cachew.snapshots.variants import NAMESPACE, Variant

COMMIT_HEADER = "X-Cachew-Snapshot-Commit"
REFS_HEADER = "X-Cachew-Mirror-Refs"
ARCHIVE_TYPE = "application/zstd"


class Maker(Protocol):
    """Makes the archives of one kind."""

    async def __call__(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make one.

        :param directory: an empty directory on the mirror's file system.
        :param begin: to be called once, when it is certain what will be made.
        :raise NotFound: when the repository has nothing that could be archived.
        """


class Snapshots:
    """Archives by repository and variant.

    :param cache: where they are kept.
    :param productions: where they are made.
    :param makers: who makes them, by kind.
    :param ready_mirror: gives the mirror that one is made of.
    """

    def __init__(
        self, *, cache: Cache, productions: Productions, makers: dict[str, Maker], ready_mirror: ReadyMirror
    ) -> None:
        self._cache, self._productions = cache, productions
        self._makers, self._ready_mirror = makers, ready_mirror

    async def stat(self, instance: Instance, variant: Variant) -> ObjectInfo | None:
        """Return what is known of a cached archive, None when none is cached."""
        return await self._cache.stat(NAMESPACE, variant.key(instance))

    def produce(self, instance: Instance, variant: Variant, *, find: ReadyMirror | None = None) -> StoredProduction:
        """Make an archive, or join those for whom it is being made.

        :param find: gives the mirror, where none is to be made for it.
        """
        identity, ready_mirror = instance.identity, find or self._ready_mirror

        async def make(directory: Path, begin: Begin) -> None:
            mirror = await ready_mirror(identity)
            require(mirror, instance)

            async def begin_of_the_same(headers: Mapping[str, str]) -> Sink:
                # What it is made of has been read by now, or can't become another one's any more.
                require(mirror, instance)
                return await begin(headers)

            await self._makers[variant.kind](mirror, variant, directory, begin_of_the_same)

        return self._productions.run(
            Order(
                key=variant.key(instance),
                owner=identity.name,
                make=make,
                kind=variant.name,
                requires=lambda: ready_mirror(identity),
                mirror=lambda: ready_mirror(identity),
            )
        )

    async def make(self, identity: Identity, variant: Variant) -> None:
        """Make an archive of the present instance though none is due, and wait until it is stored.

        :raise CachewError: when it can't be made.
        """
        mirror = await self._ready_mirror(identity)
        await with_its_mirror(lambda: self.produce(mirror.instance, variant), StoredProduction.ended)

    def give_up(self, instance: Instance, variant: Variant) -> None:
        """Break off the making of an archive, unless a client is waiting for it."""
        self._productions.give_up(variant.key(instance))


class SnapshotMaker:
    """Makes snapshots of the kind ``snapshot``.

    :param archiver: does the work.
    """

    def __init__(self, *, archiver: Archiver) -> None:
        self._archiver = archiver

    async def __call__(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make one."""
        prepared = await self._archiver.prepare(mirror, variant, directory)
        sink = await begin({"Content-Type": ARCHIVE_TYPE, COMMIT_HEADER: prepared.clone.commit})
        await self._archiver.write(prepared, sink)
