"""Bundles, and lists of bundles, over HTTP."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from cachew.cache.interface import Entry
from cachew.http.requests import StreamingRequest
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import Busy, NotFound, Superseded
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource, owned
from cachew.snapshots.bundle import Bundles, parse_base
from cachew.snapshots.bundlecommands import BUNDLE_TYPE
from cachew.snapshots.bundlelist import ListedBundle, pairs, render
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.variants import check_branch
from cachew.web.access.guard import Right
from cachew.web.access.policy import origin_of
from cachew.web.snapshots import Demand, InstanceAccess
from cachew.web.storedanswers import StoreRedirects, answer_as_decided, answer_one_of, decide, query_of, serve

_LIST_TYPE = "text/plain; charset=utf-8"
_MORE = {"Content-Type": BUNDLE_TYPE}
_TRIES = 3


class BundleRoutes:
    """Answers ``snapshot.bundle`` and ``bundle-list``.

    :param bundles: from a commit to the tip.
    :param bundle_store: the lists.
    :param access: what a request's right opens.
    :param demand: is told what clients ask for.
    :param redirects: sends clients to the store for what is large.
    :param is_https: whether a request came over HTTPS.
    """

    def __init__(
        self,
        *,
        bundles: Bundles,
        bundle_store: BundleStore,
        access: InstanceAccess,
        demand: Demand,
        redirects: StoreRedirects,
        is_https: Callable[[Any], bool] = lambda request: bool(request.isSecure()),
    ) -> None:
        self._bundles = bundles
        self._bundle_store = bundle_store
        self._access = access
        self._demand = demand
        self._redirects = redirects
        self._is_https = is_https
        self._operations: Mapping[str, Callable[[Any, Right], Awaitable[None]]] = {
            "snapshot.bundle": self._bundle,
            "bundle-list": self._bundle_list,
        }

    async def handle(self, request: StreamingRequest, right: Right, operation: str) -> None:
        """Answer one request, whose client may read the repository.

        :raise CachewError: whatever kept it from being answered.
        """
        await answer_one_of(self._operations, operation, request, right)

    async def _bundle(self, request: StreamingRequest, right: Right) -> None:
        query = query_of(request)
        base, ref = parse_base(query.get("base", "")), query.get("ref", "")
        if ref:
            check_branch(ref)
        if request.method == b"HEAD":
            mirror = self._mirror(await self._access.settled(right))
            entry, instance = await self._bundles.kept(mirror, base, ref), mirror.instance
        else:
            entry, instance = await self._found(right, base, ref)
        if entry is None:
            request.setResponseCode(204)
            return
        await self._serve(request, right, instance, entry)

    async def _found(self, right: Right, base: str, ref: str) -> tuple[Entry | None, Instance]:
        """Find or make a bundle, of the repository to which the request has a right when that is done.

        :return: the bundle, None when there is nothing to bundle, and the instance that it is of.
        :raise CachewError: when there is none.
        """
        for _ in range(_TRIES):
            instance = await self._access.instance(right)
            try:
                entry = await self._bundles.find(instance, base, ref)
            except (Superseded, NotFound):
                right = await right.renewed()
                if right.instance == instance:
                    raise
                continue
            with nullcontext() if entry is None else owned(entry):
                right = await right.renewed()
            if right.instance == instance:
                return entry, instance
            if entry is not None:
                entry.close()
        raise Busy(f"{right.identity.name} is becoming another repository, try again")

    def _mirror(self, right: Right) -> Mirror:
        mirror = None if right.instance is None else self._access.mirror(right.instance)
        if mirror is None:
            raise NotFound(f"no bundle of {right.identity.name} is cached")
        return mirror

    async def _bundle_list(self, request: StreamingRequest, right: Right) -> None:
        name = query_of(request).get("bundle")
        if request.method != b"HEAD":
            self._demand.requested(right.identity, "bundles")
        identity, instance = right.identity, (await self._access.settled(right)).instance
        if name is not None:
            entry = None if instance is None else await self._bundle_store.open(instance, name)
            if instance is None or entry is None:
                raise NotFound(f"{identity.name} has no such bundle")
            with owned(entry):
                right.require(instance)
            await self._serve(request, right, instance, entry)
            return
        listed = () if instance is None else await self._bundle_store.listed(instance)
        if not listed:
            if request.method != b"HEAD":
                self._demand.warm(identity, "bundles")
            raise NotFound(f"no bundles of {identity.name} are cached")
        body = render(listed, await self._bundle_addresses(request, right, listed)).encode()
        decision = decide(request, etag=hashlib.sha256(body).hexdigest(), modified=listed[-1].token, size=len(body))
        part = BytesSource(body[decision.start : decision.end])
        await answer_as_decided(request, decision, part, {"Content-Type": _LIST_TYPE})

    async def _bundle_addresses(
        self, request: StreamingRequest, right: Right, listed: Sequence[ListedBundle]
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
        self._demand.requested(identity, "bundles")
        listed = () if right.instance is None else await self._bundle_store.listed(right.instance)
        if not listed:
            self._demand.warm(identity, "bundles")
        lines = pairs(listed, await self._bundle_addresses(request, right, listed))
        return encode_all([*(f"{line}\n".encode() for line in lines), FLUSH])

    async def _serve(self, request: StreamingRequest, right: Right, instance: Instance, entry: Entry) -> None:
        await serve(
            request,
            entry,
            _MORE,
            redirects=self._redirects,
            what="bundle",
            still=lambda: right.require(instance),
        )
