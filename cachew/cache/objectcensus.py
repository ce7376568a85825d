"""Counting and sweeping what lies in an object store.

A count lists the manifests and reads those that are new since the last one. A sweep removes the manifests of what has
to go, which are all that counts against the limit, and also lists the contents; what no manifest names is removed when
it was found so twice, a grace apart by this machine's monotonic clock: it does not go early because somebody puts the
time of day forward, and the clocks of the store and of other replicas are never compared. Nor is a listing's word alone
enough, since stores leave things out; and what has no name of ours belongs to somebody else.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from cachew.cache.eviction import excess, victims
from cachew.cache.interface import Stats
from cachew.cache.manifest import CONTENTS, MANIFESTS, Manifest, content_in, manifest_path, name_in
from cachew.plumbing.bucket import Bucket, ListedObject
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CorruptObject, StorageRefused
from cachew.plumbing.shared import Shared

T = TypeVar("T")

_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_REFUSALS = 10
"""After so many in one sweep the store is taken to let nothing be removed, rather than single objects not."""


@dataclass(frozen=True)
class _Seen:
    namespace: str
    key: str
    listed: str
    version: str
    size: int
    expires: float | None
    used: float
    content: str


class ObjectCensus:
    """Counts what an object store holds, and says what has to go.

    :param limit: bytes of visible objects that a sweep leaves; None for no bound.
    :param grace: seconds for which content that no manifest names is kept.
    :param clock: what time it is.
    """

    def __init__(self, *, bucket: Bucket, limit: int | None, grace: float, clock: Clock) -> None:
        self._bucket = bucket
        self._limit = limit
        self._grace = grace
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._orphans: dict[str, float] = {}
        self._counts: Shared[str, list[_Seen]] = Shared()

    async def stats(self) -> Stats:
        """Count the visible objects."""
        live = self._live(await self._all())
        return Stats(len(live), sum(seen.size for seen in live), self._limit or 0)

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        return sorted({seen.namespace for seen in self._live(await self._all())})

    def _live(self, all_seen: list[_Seen]) -> list[_Seen]:
        now = self._clock.now()
        return [seen for seen in all_seen if seen.expires is None or now < seen.expires]

    async def _all(self) -> list[_Seen]:
        return await self._counts.run("all", self._count)

    async def _count(self) -> list[_Seen]:
        present: dict[str, _Seen] = {}
        for listed in await self._bucket.listing(MANIFESTS):
            known = self._seen.get(listed.path)
            seen = known if known is not None and known.listed == listed.version else await self._look(listed)
            if seen is not None:
                # Known from here on, also when the store fails before the end.
                self._seen[listed.path] = present[listed.path] = seen
        self._seen = present
        return list(present.values())

    async def _look(self, listed: ListedObject) -> _Seen | None:
        name = name_in(listed.path)
        found = None if name is None else await self._bucket.get(listed.path)
        if name is None or found is None:
            return None
        try:
            manifest = Manifest.decode(found[0], *name)
        except CorruptObject:
            return None
        info, versions = manifest.info, (listed.version, found[1])
        return _Seen(*name, *versions, info.size, info.expires, manifest.used, manifest.content)

    async def sweep(self) -> None:
        """Hide what has expired and what is over the limit, and remove content that nobody has seen for the grace."""
        # Listed first: content that is stored from now on is not looked at, so its manifest may come later.
        contents = [listed.path for listed in await self._bucket.listing(CONTENTS)]
        all_seen = await self._all()
        live = self._live(all_seen)
        going = [seen for seen in all_seen if seen not in live] + self._surplus(live)
        refusals: list[StorageRefused] = []
        hidden = await _allowed(self._hide, going, refusals)
        named = {seen.content for seen in all_seen} - {seen.content for seen in hidden}
        await self._remove_orphans({path for path in contents if path not in named and _is_ours(path)}, refusals)
        if refusals:
            raise refusals[-1]

    def _surplus(self, live: list[_Seen]) -> list[_Seen]:
        if self._limit is None:
            return []
        over = excess(used=sum(seen.size for seen in live), limit=self._limit)
        return list(victims(sorted(live, key=lambda seen: seen.used), over))

    async def _hide(self, seen: _Seen) -> bool:
        """Remove a manifest, unless it was replaced; whoever reads the content has the grace to finish.

        :return: whether it was removed.
        """
        path = manifest_path(seen.namespace, seen.key)
        current = await self._bucket.get(path)
        if current is None or current[1] != seen.version:
            return False
        await self._bucket.delete(path)
        return True

    async def _remove_orphans(self, orphans: set[str], refusals: list[StorageRefused]) -> None:
        now = self._clock.seconds()
        self._orphans = {path: self._orphans.get(path, now) for path in orphans}
        due = [path for path, since in self._orphans.items() if now - since >= self._grace]
        for path in await _allowed(self._remove_orphan, due, refusals):
            del self._orphans[path]

    async def _remove_orphan(self, path: str) -> bool:
        """Remove a content, unless its manifest is there though it was not listed, or is another version's."""
        found = await self._bucket.get(manifest_path(*(name_in(path) or ("", ""))))
        if found is None or content_in(found[0]) != path:
            await self._bucket.delete(path)
        return True


def _is_ours(path: str) -> bool:
    name = name_in(path)
    return name is not None and _KEY.fullmatch(name[1]) is not None


async def _allowed(
    remove: Callable[[T], Awaitable[bool]], things: Iterable[T], refusals: list[StorageRefused]
) -> list[T]:
    """Remove what the store lets us remove; it may keep single objects, as under a lock.

    :param remove: tells whether it has removed one.
    :param refusals: takes those of the store.
    :return: what was removed.
    :raise StorageRefused: when there are many.
    """
    removed = []
    for thing in things:
        try:
            if await remove(thing):
                removed.append(thing)
        except StorageRefused as refusal:
            refusals.append(refusal)
            if len(refusals) >= _MOST_REFUSALS:
                raise
    return removed
