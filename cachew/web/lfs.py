"""Git LFS: batches pass with the client's own credentials, downloads that the upstream allows are kept and sent.

The upstream's answer to a batch is the client's leave. It is changed so that the client gets the objects here, by a
grant that holds this leave and nothing else does; whoever has none gets nothing, however much is kept, and neither does
whoever isn't the one it was given to, or would not be given it any more (:mod:`cachew.web.lfsleave`). Uploads, locks
and everything else pass through untouched.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from cachew.cache.interface import Entry
from cachew.http.bodies import send
from cachew.http.conditional import evaluate
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Forbidden, TooLarge, UpstreamUnreachable
from cachew.plumbing.streams import BytesSource, Source, owned, read_all
from cachew.smarthttp.lfsgrant import Grant, holder_of, seal, unseal
from cachew.smarthttp.lfsobjects import CONTENT_TYPE, LfsObjects, LfsOrder
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.headers import media_type
from cachew.upstream.lfsbatch import MEDIA_TYPE, Address, LfsDownload, WantedObject, is_oid, take_over, wanted_in
from cachew.upstream.presented_credential import headers_of
from cachew.upstream.redirects import same_origin
from cachew.upstream.remotes import Remotes
from cachew.web.access.guard import AUTHORIZATION_ALONE, ClientCredentials
from cachew.web.access.policy import origin_of
from cachew.web.app import allow_methods
from cachew.web.lfsleave import LfsLeave
from cachew.web.passthrough import PassThrough

GRANT_HEADER = "X-Cachew-Grant"
_BATCH = "info/lfs/objects/batch"
_OBJECTS = "info/lfs/cachew/"
_REQUEST_LIMIT = 1024 * 1024
_ANSWER_LIMIT = 16 * 1024 * 1024
_OF_THE_OLD_BODY = frozenset({b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest"})
InstanceOf = Callable[[Identity, str | None], Awaitable[str]]
"""``instance_of(identity, credential)``: the instance's id, empty when none is known though one was looked for."""
_JSON = (MEDIA_TYPE, "application/json")


class LfsRoutes:
    """Answers what lies below ``info/lfs/``.

    :param objects: the kept ones.
    :param client: the HTTP client, which says where objects may be fetched from.
    :param passthrough: the way to upstreams.
    :param remotes: where they are.
    :param leave: says whether leave that was given would be given still.
    :param credentials: says what of a request is its client's credential.
    :param instance_of: gives the id of a repository's instance, given who asks.
    :param in_thread: for work on long texts.
    :param clock: what time it is.
    :param key: gives the secret with which grants are made.
    :param is_https: whether a request came over HTTPS.
    """

    def __init__(
        self,
        *,
        objects: LfsObjects,
        client: UpstreamClient,
        passthrough: PassThrough,
        remotes: Remotes,
        leave: LfsLeave,
        credentials: ClientCredentials = AUTHORIZATION_ALONE,
        instance_of: InstanceOf,
        in_thread: Callable[..., Awaitable[Any]],
        clock: Clock,
        key: Callable[[], bytes],
        is_https: Callable[[Any], bool],
    ) -> None:
        self._objects = objects
        self._client = client
        self._passthrough = passthrough
        self._remotes = remotes
        self._leave = leave
        self._credentials = credentials
        self._instance_of = instance_of
        self._in_thread = in_thread
        self._clock = clock
        self._key = key
        self._is_https = is_https

    async def handle(self, request: StreamingRequest, identity: Identity, operation: str) -> None:
        """Answer one request.

        :raise CachewError: whatever kept it from being answered.
        """
        if operation.startswith(_OBJECTS):
            await self._object(request, identity, operation.removeprefix(_OBJECTS))
        elif operation == _BATCH and request.method == b"POST" and not request.getHeader("content-encoding"):
            await self._batch(request, identity)
        else:
            query = request.raw_query.decode("latin-1")
            await self._passthrough.stream(request, identity, f"{operation}?{query}" if query else operation)

    # batches

    async def _batch(self, request: StreamingRequest, identity: Identity) -> None:
        body = await request.read_body(_REQUEST_LIMIT)
        wanted, origin = wanted_in(body), origin_of(request, self._is_https)
        if not wanted or not origin:
            await self._passthrough.stream(request, identity, _BATCH, body=body)
            return

        credential = self._credentials.of(request, identity.host)
        instance = await self._instance_of(identity, credential)

        async def change(answer: UpstreamResponse) -> UpstreamResponse:
            if not _is_plain_json(answer):
                return answer
            return await self._changed(answer, identity, instance, credential, wanted, origin)

        await self._passthrough.stream(request, identity, _BATCH, body=body, change=change)

    async def _changed(
        self,
        answer: UpstreamResponse,
        identity: Identity,
        instance: str,
        credential: str | None,
        wanted: frozenset[WantedObject],
        origin: str,
    ) -> UpstreamResponse:
        with owned(answer.source):
            home, now, key = self._remotes.of(identity).url, self._clock.now(), self._key()
        try:
            text = await read_all(answer.source, _ANSWER_LIMIT)
        except TooLarge as failure:
            raise UpstreamUnreachable(home, f"its answer to an LFS batch: {failure}") from failure
        holder = holder_of(credential, key)
        desk = _Desk(identity, instance, holder, origin, home, now, key, self._client.may_hold)
        changed = await self._in_thread(take_over, text, wanted=wanted, now=now, address_of=desk.address_of)
        if changed is None:
            changed = text
        else:
            self._leave.given(identity, instance, credential)
        headers = [(name, value) for name, value in answer.headers if name.lower() not in _OF_THE_OLD_BODY]
        return replace(answer, headers=headers, source=BytesSource(changed), length=len(changed))

    # objects

    async def _object(self, request: StreamingRequest, identity: Identity, oid: str) -> None:
        allow_methods(request, "GET")
        shown = request.getHeader(GRANT_HEADER) or ""
        if not is_oid(oid):
            raise Forbidden("what is asked for is no LFS object")
        credential = self._credentials.of(request, identity.host)
        instance = await self._instance_of(identity, credential)
        grant = unseal(
            shown,
            self._key(),
            repository=identity.name,
            instance=instance,
            credential=credential,
            oid=oid,
            now=self._clock.now(),
        )
        await self._leave.require(identity, instance, credential, grant.wanted)
        order = self._order(identity, grant, credential)
        if not self._client.may_hold(order.href, home=order.home):
            raise Forbidden("what the grant is for is no longer fetched from where it is")
        entry = await self._objects.kept(order)
        try:
            await self._answer(request, order, entry)
        finally:
            if entry is not None:
                entry.close()

    def _order(self, identity: Identity, grant: Grant, credential: str | None) -> LfsOrder:
        home = self._remotes.of(identity).url
        headers = [(name.encode(), value.encode()) for name, value in grant.headers]
        named = {name.lower() for name, _ in headers}
        if same_origin(grant.href, home):
            headers += [(name, value) for name, value in headers_of(credential) if name.lower() not in named]
        return LfsOrder(identity.host, grant.wanted, grant.href, tuple(headers), home)

    async def _answer(self, request: StreamingRequest, order: LfsOrder, entry: Entry | None) -> None:
        whole = entry is None and not self._objects.fits(order)
        fields = {} if whole else request.fields
        decision = evaluate(
            request.method.decode("latin-1"), fields, etag=order.wanted.oid, modified=None, size=order.wanted.size
        )
        request.setResponseCode(decision.status)
        # The address is the same for everybody, and a cache on the way knows nothing of grants.
        request.setHeader(b"Cache-Control", b"private, no-store")
        for name, value in decision.headers.items():
            request.setHeader(name.encode(), value.encode())
        source: Source = BytesSource(b"")
        request.outcome.source = "upstream" if entry is None else "cache"
        decision.check()
        if decision.status in (200, 206) and request.method != b"HEAD":
            if entry is not None:
                source = entry.source(decision.start, decision.length)
            elif whole:
                source = await self._objects.receive(order)
            else:
                source = await self._objects.follow(order, decision.start)
        if decision.status in (200, 206):
            request.setHeader(b"Content-Type", CONTENT_TYPE.encode())
            await send(request, source, length=decision.length)


@dataclass(frozen=True)
class _Desk:
    """Issues the grants for one batch.

    :param instance: the repository's id.
    :param holder: who may use them.
    :param origin: this server's address.
    :param home: the repository's URL at the upstream.
    :param may_hold: whether an object may be fetched from an address that the upstream names.
    """

    identity: Identity
    instance: str
    holder: str
    origin: str
    home: str
    now: float
    key: bytes
    may_hold: Callable[..., bool]

    def address_of(self, download: LfsDownload) -> Address | None:
        if not self.may_hold(download.href, home=self.home):
            return None
        expires = self.now + download.seconds
        granted = Grant(
            self.identity.name,
            self.instance,
            self.holder,
            download.wanted,
            expires,
            download.href,
            download.headers,
        )
        grant = seal(granted, self.key)
        if grant is None:
            return None
        # A grant that was given to a credential is of use with it alone, and the storage may want to see it too.
        href = f"{self.origin}/git/{self.identity.name}/{_OBJECTS}{download.wanted.oid}"
        return Address(href, {GRANT_HEADER: grant}, not self.holder)


def _is_plain_json(answer: UpstreamResponse) -> bool:
    return answer.status == 200 and media_type(answer.headers) in _JSON
