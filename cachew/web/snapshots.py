"""Snapshots, LFS snapshots, bundles and bundle lists over HTTP.

What is cached is sent at once: no upstream, fetch or mirror is waited for. Whether it is stale is found out on the
side, for the next client.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from cachew.cache.interface import Entry, ObjectInfo
from cachew.http.bodies import send
from cachew.http.conditional import Decision, evaluate
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.background import Background
from cachew.plumbing.errors import (
    BadRequest,
    Busy,
    CorruptObject,
    NotFound,
    SpoolFailed,
    StorageUnavailable,
    Superseded,
    UnknownPath,
)
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource, Source, owned
from cachew.snapshots.bundle import BUNDLE_TYPE, Bundles, parse_base, tip_of
from cachew.snapshots.bundlelist import Listed, pairs, render
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.mirror import FindMirror, Mirror, ReadyMirror
from cachew.snapshots.production import StoredProduction, with_its_mirror
from cachew.snapshots.store import ARCHIVE_TYPE, COMMIT_HEADER, Snapshots
from cachew.snapshots.variants import LFS, Variant, check_branch, from_query
from cachew.web.access.guard import Right
from cachew.web.access.policy import origin_of
from cachew.web.app import allow_methods
from cachew.web.storeredirects import StoreRedirects

BUNDLE_URL_HEADER = "X-Cachew-Bundle-Url"
HEAD_HEADER = "X-Cachew-Head"
"""Which ref the upstream's HEAD names now, percent-encoded: a client whose snapshot is of another branch follows it."""
_LIST_TYPE = "text/plain; charset=utf-8"
_RELAYED = ("Content-Type", COMMIT_HEADER)
_TRIES = 3
"""How often what is damaged is looked for again; there are hardly more tiers."""
_PARAMETERS = frozenset({"base", "bundle", "filter", "ref"})


class SnapshotRoutes:
    """Answers the requests for what is made of mirrors.

    :param snapshots: archives, cached or made.
    :param bundles: from a commit to the tip.
    :param bundle_store: the lists.
    :param find_mirror: gives the mirror that is ready, or None.
    :param ready_mirror: gives it, made first if there is none.
    :param patience: seconds that is waited until it is certain that a repository is still the same.
    :param background: where bundles are made that will be asked for.
    :param check_staleness: called when a cached snapshot is sent; checks the refs in the background.
    :param requested: called with what was asked for, so that it goes on being made.
    :param is_https: whether a request came over HTTPS.
    :param warm: begins to make something in the background, unless that failed just now.
    :param redirects: sends clients to the store for what is large.
    """

    log = Logger()

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        bundles: Bundles,
        bundle_store: BundleStore,
        find_mirror: FindMirror,
        ready_mirror: ReadyMirror,
        patience: float,
        background: Background,
        check_staleness: Callable[[Identity], object],
        requested: Callable[[Identity, str], object],
        warm: Callable[[Identity, str], object],
        redirects: StoreRedirects,
        is_https: Callable[[Any], bool] = lambda request: bool(request.isSecure()),
    ) -> None:
        self._is_https = is_https
        self._snapshots = snapshots
        self._bundles = bundles
        self._bundle_store = bundle_store
        self._find_mirror, self._check_staleness = find_mirror, check_staleness
        self._ready_mirror, self._patience = ready_mirror, patience
        self._background = background
        self._requested = requested
        self._warm = warm
        self._redirects = redirects
        self._operations: Mapping[str, Callable[[Any, Right], Awaitable[None]]] = {
            "snapshot.tar.zst": self._snapshot,
            "lfs-snapshot.tar.zst": self._lfs_snapshot,
            "snapshot.bundle": self._bundle,
            "bundle-list": self._bundle_list,
        }

    async def handle(self, request: StreamingRequest, right: Right, operation: str) -> None:
        """Answer one request, whose client may read the repository.

        :raise CachewError: whatever kept it from being answered.
        """
        allow_methods(request, "GET")
        answer = self._operations.get(operation)
        if answer is None:
            raise UnknownPath("no such operation on a repository")
        headers = request.responseHeaders.copy()
        for _ in range(_TRIES):
            request.outcome.source = "cache"
            try:
                await answer(request, right)
                return
            except (CorruptObject, Superseded) as error:
                if request.startedWriting:
                    raise
                # What is damaged has been removed: another tier has it, or it is made anew while the client waits.
                self.log.warn("{repository}: asking again: {error}", repository=right.identity.name, error=str(error))
                request.responseHeaders = headers.copy()
                request.setResponseCode(200)
                right = await right.renewed()
        await answer(request, right)

    async def _instance(self, right: Right) -> Instance:
        """Return the instance of which the request may have what is kept; a mirror is waited for where there is none.

        :raise CachewError: when that can't be told at present.
        """
        right = await right.settled(self._patience)
        if right.instance is None:
            await self._ready_mirror(right.identity)
            right = await right.renewed()
        if right.instance is None:
            raise Busy(f"it is not certain whether {right.identity.name} is still the same repository, try again")
        return right.instance

    async def _snapshot(self, request: StreamingRequest, right: Right) -> None:
        variant = from_query(query_of(request))
        if request.method == b"HEAD":
            await self._head(request, right, variant)
            return
        instance = await self._instance(right)
        self._requested(right.identity, variant.name)
        entry = await self._cached(instance, variant)
        if entry is None:
            await self._make(request, right, instance, variant)
            return
        with owned(entry):
            self._check_staleness(right.identity)
            more = self._bundle_header(instance, variant, entry.info, prepare=True)
            right.require(instance)
        await self._serve(request, entry, more, what=variant.kind, still=lambda: right.require(instance))

    async def _cached(self, instance: Instance, variant: Variant) -> Entry | None:
        identity = instance.identity
        try:
            return await self._snapshots.open(instance, variant)
        except (StorageUnavailable, CorruptObject) as error:
            # Nothing is cached that could be had; what is made now reaches the client though it can't be stored.
            self.log.warn("{repository}: no cache tier answers: {error}", repository=identity.name, error=str(error))
            return None

    async def _head(self, request: StreamingRequest, right: Right, variant: Variant) -> None:
        instance = (await right.settled(self._patience)).instance
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
        identity, instance = right.identity, (await right.settled(self._patience)).instance
        self._requested(identity, LFS)
        entry = None if instance is None else await self._snapshots.open(instance, variant)
        if instance is None or entry is None:
            self._warm(identity, variant.name)
            raise NotFound(f"no LFS snapshot of {identity.name} is cached")
        with owned(entry):
            self._check_staleness(identity)
            right.require(instance)
        await self._serve(request, entry, {}, what=variant.kind, still=lambda: right.require(instance))

    async def _bundle(self, request: StreamingRequest, right: Right) -> None:
        query = query_of(request)
        base, ref = parse_base(query.get("base", "")), query.get("ref", "")
        if ref:
            check_branch(ref)
        if request.method == b"HEAD":
            mirror = self._mirror_of_bundles(await right.settled(self._patience))
            entry, instance = await self._bundles.kept(mirror, base, ref), mirror.instance
        else:
            entry, instance = await self._found(right, base, ref)
        if entry is None:
            request.setResponseCode(204)
            return
        more = {"Content-Type": BUNDLE_TYPE}
        await self._serve(request, entry, more, what="bundle", still=lambda: right.require(instance))

    async def _found(self, right: Right, base: str, ref: str) -> tuple[Entry | None, Instance]:
        """Find or make a bundle, of the repository to which the request has a right when that is done.

        :return: the bundle, None when there is nothing to bundle, and the instance that it is of.
        :raise CachewError: when there is none.
        """
        for _ in range(_TRIES):
            instance = await self._instance(right)
            try:
                entry = await self._bundles.find(instance, base, ref)
            except (Superseded, NotFound):
                right = await right.renewed()
                if right.instance == instance:
                    raise
                continue
            right = await right.renewed()
            if right.instance == instance:
                return entry, instance
            if entry is not None:
                entry.close()
        raise Busy(f"{right.identity.name} is becoming another repository, try again")

    def _mirror_of_bundles(self, right: Right) -> Mirror:
        mirror = self._find_mirror(right.identity)
        if mirror is None or mirror.instance != right.instance:
            raise NotFound(f"no bundle of {right.identity.name} is cached")
        return mirror

    async def _bundle_list(self, request: StreamingRequest, right: Right) -> None:
        name = query_of(request).get("bundle")
        if request.method != b"HEAD":
            self._requested(right.identity, "bundles")
        identity, instance = right.identity, (await right.settled(self._patience)).instance
        if name is not None:
            entry = None if instance is None else await self._bundle_store.open(instance, name)
            if instance is None or entry is None:
                raise NotFound(f"{identity.name} has no such bundle")
            with owned(entry):
                right.require(instance)
            more = {"Content-Type": BUNDLE_TYPE}
            await self._serve(request, entry, more, what="bundle", still=lambda: right.require(instance))
            return
        listed = () if instance is None else await self._bundle_store.listed(instance)
        if not listed:
            if request.method != b"HEAD":
                self._warm(identity, "bundles")
            raise NotFound(f"no bundles of {identity.name} are cached")
        body = render(listed, await self._bundle_addresses(request, right, listed)).encode()
        decision = decide(request, etag=hashlib.sha256(body).hexdigest(), modified=listed[-1].token, size=len(body))
        part = BytesSource(body[decision.start : decision.end])
        await answer_as_decided(request, decision, part, {"Content-Type": _LIST_TYPE})

    async def _bundle_addresses(
        self, request: StreamingRequest, right: Right, listed: Sequence[Listed]
    ) -> dict[str, str]:
        """Return where the bundles of a list are fetched: git follows no redirects there, so those in the store are."""
        own = f"{origin_of(request, self._is_https)}/git/{right.identity.name}/bundle-list?bundle="
        addresses = {bundle.name: f"{own}{bundle.name}" for bundle in listed}
        if right.instance is None or request.method == b"HEAD":
            return addresses
        in_store = {}
        for name in addresses:
            info = await self._bundle_store.stat(right.instance, name)
            if info is not None and (address := await self._redirects.listed(info)) is not None:
                in_store[name] = address
        return addresses | in_store if right.present.is_current(right.instance) else addresses

    async def bundle_uris(self, request: StreamingRequest, right: Right) -> bytes:
        """Return the answer to protocol v2's ``bundle-uri``: the same list, for clients that ask while cloning."""
        identity = right.identity
        self._requested(identity, "bundles")
        listed = () if right.instance is None else await self._bundle_store.listed(right.instance)
        if not listed:
            self._warm(identity, "bundles")
        lines = pairs(listed, await self._bundle_addresses(request, right, listed))
        return encode_all([*(f"{line}\n".encode() for line in lines), FLUSH])

    async def _make(self, request: StreamingRequest, right: Right, instance: Instance, variant: Variant) -> None:
        """Send what is being made while it is made."""
        request.outcome.source = "made"
        try:
            production, source = await with_its_mirror(lambda: self._snapshots.produce(instance, variant), _begun)
        except SpoolFailed:
            # It was over at once.
            entry = await self._snapshots.open(instance, variant)
            if entry is None:
                raise
            await self._serve(request, entry, {}, what=variant.kind, still=lambda: right.require(instance))
            return
        with owned(source):
            right.require(instance)
            for name, value in production.headers.items():
                request.setHeader(name.encode(), value.encode())
        await send(request, source)

    async def _serve(
        self,
        request: StreamingRequest,
        entry: Entry,
        more: Mapping[str, str],
        *,
        what: str,
        still: Callable[[], object],
    ) -> None:
        """Send a stored object, or say where in the store it is.

        :param still: raises when the client may not have it any more.
        """
        with closing(entry):
            info = entry.info
            decision = decide(request, etag=info.etag, modified=info.modified, size=info.size)
            address = await self._redirects.address(request, info, decision)
            still()
            if address is None:
                await answer_with(request, info, entry, more)
                return
            for name, value in {**_described(info), **more, **decision.headers}.items():
                request.setHeader(name.encode(), value.encode())
            await self._redirects.send(request, address, decision, what)

    def _bundle_header(
        self, instance: Instance, variant: Variant, info: ObjectInfo, *, prepare: bool
    ) -> dict[str, str]:
        """Say where the rest is when the branch has moved on, and have it made."""
        identity = instance.identity
        mirror, commit = self._find_mirror(identity), info.headers.get(COMMIT_HEADER)
        if mirror is None or mirror.instance != instance or not commit:
            return {}
        head = {HEAD_HEADER: _quoted(mirror.head_ref)} if mirror.head_ref and not variant.ref else {}
        if tip_of(mirror, variant.ref) in (None, commit):
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


async def answer_with(
    request: StreamingRequest, info: ObjectInfo, entry: Entry | None, more: Mapping[str, str]
) -> None:
    """Answer with a stored object, or the part of it that was asked for.

    :param entry: None when there is only to be said what it is like.
    :param more: headers besides those that are stored.
    """
    decision = decide(request, etag=info.etag, modified=info.modified, size=info.size)
    source: Source = BytesSource(b"")
    if entry is not None and decision.length:
        source = entry.source(decision.start, decision.length)
    await answer_as_decided(request, decision, source, {**_described(info), **more})


def _described(info: ObjectInfo) -> dict[str, str]:
    stored = {name: info.headers[name] for name in _RELAYED if name in info.headers}
    return {"Content-Type": ARCHIVE_TYPE, **stored}


def decide(request: StreamingRequest, *, etag: str, modified: float, size: int) -> Decision:
    """Decide how to answer a request; see :func:`cachew.web.conditional.evaluate`."""
    method = request.method.decode("latin-1")
    return evaluate(method, request.fields, etag=etag, modified=modified, size=size)


async def answer_as_decided(
    request: StreamingRequest, decision: Decision, source: Source, headers: Mapping[str, str]
) -> None:
    """Send what was decided.

    :param source: the bytes of a body, if there is to be one; it is closed.
    :param headers: what describes them, and what else there is to say.
    :raise PreconditionFailed: when the client insists on another version.
    :raise RangeNotSatisfiable: when it asks for a range of bytes that are not there.
    """
    with owned(source):
        request.setResponseCode(decision.status)
        for name, value in {**headers, **decision.headers}.items():
            request.setHeader(name.encode(), value.encode())
    if decision.status in (200, 206):
        await send(request, source, length=decision.length)
    else:
        source.close()
        request.responseHeaders.removeHeader(b"Content-Type")
        decision.check()


def query_of(request: StreamingRequest) -> dict[str, str]:
    """Return a request's query.

    :raise BadRequest: when what is asked for is no text, or said twice and differently, so that others may take it for
        the other.
    """
    query = {}
    for raw_name, values in request.args.items():
        name = raw_name.decode("utf-8", "replace")
        if name in _PARAMETERS and len(set(values)) > 1:
            raise BadRequest(f"{name} is given more than once")
        try:
            errors = "surrogateescape" if name == "ref" else "strict" if name in _PARAMETERS else "replace"
            query[name] = values[-1].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise BadRequest(f"{name} is not UTF-8") from None
    return query
