"""Snapshots and LFS snapshots over HTTP.

What is cached is sent at once: no upstream, fetch or mirror is waited for. Whether it is stale is found out on the
side, for the next client.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from cachew.cache.interface import Cache, Entry, ObjectInfo
from cachew.http.bodies import send
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.errors import (
    BadRequest,
    Busy,
    CorruptObject,
    NotFound,
    SpoolFailed,
    StorageUnavailable,
)
from cachew.plumbing.streams import Source, owned
from cachew.snapshots.bundle import Bundles
from cachew.snapshots.sourcemirror import FindMirror, ReadyMirror
from cachew.snapshots.store import COMMIT_HEADER, Snapshots
from cachew.snapshots.storedproduction import StoredProduction, with_its_mirror
from cachew.snapshots.variants import LFS, NAMESPACE, Variant, from_query
from cachew.web.access.guard import Right
from cachew.web.storedanswers import StoreRedirects, answer_one_of, answer_with, query_of, serve

BUNDLE_URL_HEADER = "X-Cachew-Bundle-Url"
HEAD_HEADER = "X-Cachew-Head"
"""Which ref the upstream's HEAD names now, percent-encoded: a client whose snapshot is of another branch follows it."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Tells those who make things what clients ask for.

    :param requested: called with what was asked for, so that it goes on being made.
    :param warm: begins to make something in the background, unless that failed just now.
    :param check_staleness: called when a cached snapshot is sent; checks the refs in the background.
    """

    requested: Callable[[Identity, str], object]
    warm: Callable[[Identity, str], object]
    check_staleness: Callable[[Identity], object]


class InstanceAccess:
    """Finds what a request's right opens: an instance of a repository, and its mirror.

    :param find_mirror: gives the mirror that is ready, or None.
    :param ready_mirror: gives it, made first if there is none.
    :param patience: seconds that is waited until it is certain that a repository is still the same.
    """

    def __init__(self, *, find_mirror: FindMirror, ready_mirror: ReadyMirror, patience: float) -> None:
        self._find_mirror = find_mirror
        self._ready_mirror = ready_mirror
        self._patience = patience

    async def settled(self, right: Right) -> Right:
        """Return a right as soon as it is certain which instance it is to, or it has been waited long enough for that.

        :raise UpstreamError: when nobody says.
        """
        return await right.settled(self._patience)

    async def instance(self, right: Right) -> Instance:
        """Return the instance of which the request may have what is kept; a mirror is waited for where there is none.

        :raise CachewError: when that can't be told at present.
        """
        right = await self.settled(right)
        if right.instance is None:
            await self._ready_mirror(right.identity)
            right = await right.renewed()
        if right.instance is None:
            raise Busy(f"it is not certain whether {right.identity.name} is still the same repository, try again")
        return right.instance

    def mirror(self, instance: Instance) -> Mirror | None:
        """Return an instance's mirror if it is ready."""
        mirror = self._find_mirror(instance.identity)
        return mirror if mirror is not None and mirror.life.instance == instance else None


class SnapshotRoutes:
    """Answers the requests for archives.

    :param snapshots: makes the archives.
    :param cache: has them.
    :param bundles: what goes from a snapshot's commit to the tip.
    :param background: where bundles are made that will be asked for.
    :param access: what a request's right opens.
    :param demand: is told what clients ask for.
    :param redirects: sends clients to the store for what is large.
    """

    log = Logger()

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        cache: Cache,
        bundles: Bundles,
        background: Background,
        access: InstanceAccess,
        demand: Demand,
        redirects: StoreRedirects,
    ) -> None:
        self._snapshots = snapshots
        self._cache = cache
        self._bundles = bundles
        self._background = background
        self._access = access
        self._demand = demand
        self._redirects = redirects
        self._operations: Mapping[str, Callable[[Any, Right], Awaitable[None]]] = {
            "snapshot.tar.zst": self._snapshot,
            "lfs-snapshot.tar.zst": self._lfs_snapshot,
        }

    async def handle(self, request: StreamingRequest, right: Right, operation: str) -> None:
        """Answer one request, whose client may read the repository.

        :raise CachewError: whatever kept it from being answered.
        """
        await answer_one_of(self._operations, operation, request, right)

    async def _snapshot(self, request: StreamingRequest, right: Right) -> None:
        variant = from_query(query_of(request))
        if request.method == b"HEAD":
            await self._head(request, right, variant)
            return
        instance = await self._access.instance(right)
        self._demand.requested(right.identity, variant.name)
        entry = await self._cached(instance, variant)
        if entry is None:
            await self._make(request, right, instance, variant)
            return
        with owned(entry):
            self._demand.check_staleness(right.identity)
            more = self._bundle_header(instance, variant, entry.info, prepare=True)
            right.require(instance)
        await self._serve(request, right, instance, entry, variant.kind, more)

    async def _cached(self, instance: Instance, variant: Variant) -> Entry | None:
        identity = instance.identity
        try:
            return await self._cache.open(NAMESPACE, variant.key(instance))
        except (StorageUnavailable, CorruptObject) as error:
            # Nothing is cached that could be had; what is made now reaches the client though it can't be stored.
            self.log.warn("{repository}: no cache tier answers: {error}", repository=identity.name, error=str(error))
            return None

    async def _head(self, request: StreamingRequest, right: Right, variant: Variant) -> None:
        instance = (await self._access.settled(right)).instance
        info = None if instance is None else await self._snapshots.stat(instance, variant)
        if instance is None or info is None:
            raise NotFound(f"no {variant.kind} of {right.identity.name} is cached")
        await answer_with(request, info, None, self._bundle_header(instance, variant, info, prepare=False))

    async def _lfs_snapshot(self, request: StreamingRequest, right: Right) -> None:
        query = query_of(request)
        if query.get("filter"):
            raise BadRequest("an LFS snapshot has the objects of a branch; there is none with a filter")
        variant = replace(from_query(query), kind=LFS)
        if request.method == b"HEAD":
            await self._head(request, right, variant)
            return
        identity, instance = right.identity, (await self._access.settled(right)).instance
        self._demand.requested(identity, LFS)
        entry = None if instance is None else await self._cache.open(NAMESPACE, variant.key(instance))
        if instance is None or entry is None:
            self._demand.warm(identity, variant.name)
            raise NotFound(f"no LFS snapshot of {identity.name} is cached")
        with owned(entry):
            self._demand.check_staleness(identity)
            right.require(instance)
        await self._serve(request, right, instance, entry, variant.kind, {})

    async def _make(self, request: StreamingRequest, right: Right, instance: Instance, variant: Variant) -> None:
        """Send what is being made while it is made."""
        request.outcome.source = "made"
        try:
            production, source = await with_its_mirror(lambda: self._snapshots.produce(instance, variant), _begun)
        except SpoolFailed:
            # It was over at once.
            entry = await self._cache.open(NAMESPACE, variant.key(instance))
            if entry is None:
                raise
            await self._serve(request, right, instance, entry, variant.kind, {})
            return
        with owned(source):
            right.require(instance)
            for name, value in production.headers.items():
                request.setHeader(name.encode(), value.encode())
        await send(request, source)

    async def _serve(
        self,
        request: StreamingRequest,
        right: Right,
        instance: Instance,
        entry: Entry,
        what: str,
        more: Mapping[str, str],
    ) -> None:
        await serve(
            request,
            entry,
            more,
            redirects=self._redirects,
            what=what,
            still=lambda: right.require(instance),
        )

    def _bundle_header(
        self, instance: Instance, variant: Variant, info: ObjectInfo, *, prepare: bool
    ) -> dict[str, str]:
        """Say where the rest is when the branch has moved on, and have it made."""
        identity = instance.identity
        mirror, commit = self._access.mirror(instance), info.headers.get(COMMIT_HEADER)
        if mirror is None or not commit:
            return {}
        named = None if variant.ref else mirror.refs.head_ref
        head = {HEAD_HEADER: _quoted(named)} if named else {}
        tip = mirror.refs.by_name.get(variant.ref) if variant.ref else mirror.refs.head_commit
        if tip in (None, commit):
            return head
        if prepare:
            what = f"bundle of {identity.name}"
            self._background.start(self._bundles.prepare(mirror, commit, variant.ref), what)
        branch = f"&ref={_quoted(variant.ref)}" if variant.ref else ""
        return head | {BUNDLE_URL_HEADER: f"/git/{identity.name}/snapshot.bundle?base={commit}{branch}"}


async def _begun(production: StoredProduction) -> tuple[StoredProduction, Source]:
    """Follow what is being made, as soon as it is known what it is.

    :raise SpoolFailed: when it is over already.
    """
    source = production.follow()
    with owned(source):
        await production.begun()
    return production, source


def _quoted(ref: str) -> str:
    return quote(ref, safe="/", errors="surrogateescape")
