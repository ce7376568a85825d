"""A cache in an object store that replicas share (S3 and what speaks its protocol).

Content goes up in parts under a name of its own, then a manifest makes it visible. Objects that nobody uses expire:
a use puts off the expiry of those that were stored without a time to live of their own. What nobody can see any more
is removed by :meth:`ObjectStoreCache.sweep`, after a grace in which readers may still be at it.
"""

import uuid
from typing import Unpack

from cachew.cache.interface import ObjectInfo, ObjectOptions, Stats, object_name
from cachew.cache.manifest import Manifest, content_in, content_path, manifest_path
from cachew.cache.manifests import Manifests
from cachew.cache.objectcensus import ObjectCensus
from cachew.cache.objectrecord import WriteTerms, live
from cachew.cache.objectsource import ObjectSource
from cachew.cache.objectupload import ANYTHING, ObjectStoreWriter
from cachew.cache.presigned import Presigning
from cachew.cache.validation import same
from cachew.plumbing.background import Background
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict


class ObjectStoreEntry:
    """An object of an :class:`ObjectStoreCache`, opened."""

    def __init__(self, *, manifests: Manifests, bucket: Bucket, manifest: Manifest, clock: Clock) -> None:
        self._manifests = manifests
        self._bucket = bucket
        self._clock = clock
        self._manifest = manifest

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object."""
        return self._manifest.info

    def source(self, offset: int = 0, length: int | None = None) -> ObjectSource:
        """Return a stream over a part of the content."""
        rest = max(self.info.size - offset, 0)
        return ObjectSource(
            bucket=self._bucket,
            path=self._manifest.content,
            blocks=self._manifest.record.blocks,
            offset=offset,
            length=rest if length is None else min(length, rest),
            damaged=lambda: self._manifests.damaged(self._manifest),
            clock=self._clock,
        )

    def close(self) -> None:
        """Nothing is held between reads."""


class ObjectStoreCache:
    """A cache in an object store that several servers may share.

    :param bucket: where everything lies.
    :param max_ttl: the longest that an object lives unused, in seconds; None for ever.
    :param limit: bytes of visible objects that :meth:`sweep` leaves; None for no bound.
    :param clock: what time it is.
    :param grace: seconds for which content that nobody can see any more is kept for those who still read it.
    :param background: where uses are written down.
    :param presigning: for what clients are given addresses in the store itself, None for nothing.
    """

    def __init__(
        self,
        *,
        bucket: Bucket,
        max_ttl: float | None = None,
        limit: int | None = None,
        clock: Clock,
        grace: float = 3600.0,
        background: Background | None = None,
        presigning: Presigning | None = None,
    ) -> None:
        self._bucket = bucket
        self._presigning = presigning
        self._max_ttl = max_ttl
        self._clock = clock
        self._census = ObjectCensus(bucket=bucket, limit=limit, grace=grace, clock=clock)
        self._background = Background() if background is None else background
        self._manifests = Manifests(bucket=bucket, background=self._background)

    async def start(self) -> None:
        """Nothing is asked of the store before it is needed."""

    async def stop(self) -> None:
        """End what goes on in the background."""
        await self._background.stop()

    async def _find(self, namespace: str, key: str) -> Manifest | None:
        found = await self._manifests.find(*object_name(namespace, key))
        if found is None:
            return None
        manifest, version = found
        now = self._clock.now()
        if not live(manifest.info, now):
            return None
        refreshed = manifest.refreshed(now, self._max_ttl)
        if refreshed is not None:
            self._background.start(self._refresh(refreshed, version), "writing down the use of a shared object")
        return manifest

    async def _refresh(self, manifest: Manifest, version: str) -> None:
        try:
            await self._bucket.put_if(
                manifest_path(manifest.info.namespace, manifest.info.key), manifest.encode(), version
            )
        except Conflict:
            return

    async def open(self, namespace: str, key: str) -> ObjectStoreEntry | None:
        """Open an object."""
        manifest = await self._find(namespace, key)
        if manifest is None:
            return None
        return ObjectStoreEntry(manifests=self._manifests, bucket=self._bucket, manifest=manifest, clock=self._clock)

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        manifest = await self._find(namespace, key)
        return None if manifest is None else manifest.info

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Return an address at which clients can read an object in the store themselves."""
        terms = self._presigning
        if terms is None or info.size < terms.at_least:
            return None
        manifest = await self._find(info.namespace, info.key)
        if manifest is None or not same(manifest.info, info):
            return None
        return await self._bucket.presigned(manifest.content, terms.lifetime)

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> ObjectStoreWriter:
        """Begin an object."""
        terms = WriteTerms.checked(namespace, key, max_ttl=self._max_ttl, **options)
        over: str | None = ANYTHING
        if options.get("unless_replaced"):
            found = await self._bucket.get(manifest_path(terms.namespace, terms.key))
            over = None if found is None else content_in(found[0])
        return ObjectStoreWriter(
            bucket=self._bucket,
            terms=terms,
            over=over,
            path=content_path(terms.namespace, terms.key, uuid.uuid4().hex),
            clock=self._clock,
            slides=options.get("ttl") is None,
        )

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object; who reads it fails."""
        manifest = await self._find(namespace, key)
        if manifest is None:
            return False
        await self._manifests.remove(manifest)
        return True

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Keep the object: it is shared."""
        object_name(namespace, key)
        return False

    async def stats(self) -> Stats:
        """Count the visible objects."""
        return await self._census.stats()

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        return await self._census.namespaces()

    async def sweep(self) -> None:
        """Hide expired objects and the least recently used over the limit, and remove what has been hidden for long."""
        await self._census.sweep()
