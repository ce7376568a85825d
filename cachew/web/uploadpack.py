"""Clones and fetches: `info/refs` and `git-upload-pack`.

The ref listing is the gate: it is answered from what the upstream has just said, out of memory. Objects come from the
mirror through the pack cache and ``git http-backend``; what the mirror can't serve, the upstream does. That choice is
open until the first byte has left.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from cachew.http.bodies import send
from cachew.http.collecting import Body
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.wants import Asker, Supply
from cachew.plumbing.errors import ProcessFailed, UnsupportedMediaType
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource
from cachew.smarthttp.advertise import ls_refs_response, v0_advertisement, v2_advertisement
from cachew.smarthttp.request import Fetch, GitCommand, Probe, V2LsRefs, V2Other, protocol_version, read_command
from cachew.smarthttp.routing import Kind, Route, Situation, decide
from cachew.upstream.listing import Listing
from cachew.web.outcome import outcome_of
from cachew.web.packs import MirrorRefused, Packs
from cachew.web.passthrough import PassThrough, question_of
from cachew.web.rendering import Renderings

_ADVERTISEMENT = b"application/x-git-upload-pack-advertisement"
_RESULT = b"application/x-git-upload-pack-result"
_REQUEST = "application/x-git-upload-pack-request"
_SHARED_PREFIXES = 100
_SHARED_PREFIX_BYTES = 4096
_COMMANDS = ("bundle-uri",)
_SHORT = 256 * 1024
"""Bytes of a request above which reading it takes long enough to hold others up."""
_LONG_AT_A_TIME = 2
_STALE = b'110 - "response is stale"'


class UploadPack:
    """The routes of clones and fetches.

    :param mirrors: the mirrors.
    :param freshness: the ref gate.
    :param supply: gets objects that a mirror lacks.
    :param packs: answers fetches from mirrors.
    :param passthrough: answers what no mirror can.
    :param metrics: counts where answers came from.
    :param bundle_uris: answers the ``bundle-uri`` command.
    :param client_of: tells a request's client.
    :param cloned: told of each repository that was fetched by a client that had nothing of it.
    :param body_limit: the most bytes of an inflated request body.
    :param in_thread: for reading long requests.
    """

    log = Logger()

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        freshness: Freshness,
        supply: Supply,
        packs: Packs,
        passthrough: PassThrough,
        metrics: Metrics,
        body_limit: int,
        in_thread: Callable[..., Awaitable[Any]],
        bundle_uris: Callable[[Any, Identity], Awaitable[bytes]],
        client_of: Callable[[Any], str],
        cloned: Callable[[Identity], object] = lambda identity: None,
    ) -> None:
        self._mirrors, self._freshness, self._supply, self._packs = mirrors, freshness, supply, packs
        self._passthrough, self._metrics = passthrough, metrics
        self._body_limit, self._bundle_uris, self._cloned = body_limit, bundle_uris, cloned
        self._client_of = client_of
        self._in_thread, self._long = in_thread, Slots(limit=_LONG_AT_A_TIME)
        self._rendered = Renderings(in_thread=in_thread)

    # --- info/refs ----------------------------------------------------------------------------------------------------

    async def info_refs(self, request: Any, identity: Identity, authorization: str | None) -> None:
        """Answer ``GET …/info/refs?service=git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        version = protocol_version(request.getHeader("git-protocol"))
        mirror = self._mirrors.obtain(identity)
        await mirror.verification.settled_soon()
        if not mirror.ready:
            self._mirrors.want(identity)
            await self._pass(request, identity, authorization, None)
        elif version == 2:
            body = v2_advertisement(object_format=mirror.object_format, commands=_COMMANDS)
            await self._memory(request, _ADVERTISEMENT, body)
        else:
            answer = await self._freshness.answer(identity, (), authorization)
            if answer.listing.empty:
                await self._pass(request, identity, authorization, None)
                return
            _mark(request, answer)
            cut = mirror.repository.shallow()
            body = await self._rendered.of(answer.listing, (version, cut), lambda: _v0(answer.listing, version, cut))
            await self._memory(request, _ADVERTISEMENT, body)

    # --- git-upload-pack ----------------------------------------------------------------------------------------------

    async def upload_pack(self, request: Any, identity: Identity, authorization: str | None) -> None:
        """Answer ``POST …/git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        encoding, protocol = request.getHeader("content-encoding"), request.getHeader("git-protocol")
        _require_media_type(request.getHeader("content-type"))
        body = await request.collect(self._body_limit, encoding=encoding)
        command = await self._command(identity, body, protocol)
        mirror = self._mirrors.obtain(identity)
        await mirror.verification.settled_soon()
        if not mirror.ready:
            self._mirrors.want(identity)
        if isinstance(command, Probe):
            await self._memory(request, _RESULT, b"")
        elif isinstance(command, V2LsRefs):
            await self._ls_refs(request, identity, authorization, body, command)
        elif isinstance(command, V2Other) and command.name in _COMMANDS and mirror.ready:
            await self._memory(request, _RESULT, await self._bundle_uris(request, identity))
        else:
            await self._fetch(request, mirror, authorization, body, command)
            if isinstance(command, Fetch) and command.done and not command.haves:
                self._cloned(identity)

    async def _command(self, identity: Identity, body: Body, protocol: str | None) -> GitCommand:
        if body.size <= _SHORT:
            return read_command(body.pieces(), protocol)
        async with self._long.take(identity.name):
            command: GitCommand = await self._in_thread(read_command, body.pieces(), protocol)
            return command

    async def _ls_refs(
        self, request: Any, identity: Identity, authorization: str | None, body: Body, command: V2LsRefs
    ) -> None:
        if command.unknown:
            await self._pass(request, identity, authorization, body)
            return
        answer = await self._freshness.answer(identity, command.prefixes, authorization)
        if answer.listing.empty:
            # Only the upstream knows what an empty repository should look like to this client.
            await self._pass(request, identity, authorization, body)
            return
        _mark(request, answer)
        listing = answer.listing
        text = await self._rendered.of(listing, _form(command), lambda: ls_refs_response(listing.refs, command))
        await self._memory(request, _RESULT, text)

    async def _fetch(
        self, request: Any, mirror: Mirror, authorization: str | None, body: Body, command: GitCommand
    ) -> None:
        # A mirror whose packs somebody has written to is not ready until they were read.
        mirror.intact()
        await mirror.verification.settled_soon()
        route = await self._route(mirror, Asker(self._client_of(request), authorization), command)
        if route.kind is Kind.MIRROR and isinstance(command, Fetch):
            try:
                await self._packs.serve(request, mirror, command, body)
                return
            except (ProcessFailed, MirrorRefused) as error:
                self._suspect(mirror, error)
                if request.startedWriting:
                    raise
        self.log.debug(
            "{repository}: passing a request to the upstream: {reason}",
            repository=mirror.identity.name,
            reason=route.reason,
        )
        if isinstance(command, Fetch):
            await self._packs.serve_upstream(request, mirror, command, body, authorization)
        else:
            await self._pass(request, mirror.identity, authorization, body)

    async def _route(self, mirror: Mirror, asker: Asker, command: GitCommand) -> Route:
        wants = command.wants if isinstance(command, Fetch) else ()
        present = mirror.ready and not await mirror.lacking(wants)
        situation = Situation(ready=mirror.ready, object_format=mirror.object_format, wants_present=present)
        route = decide("git-upload-pack", command, situation)
        if route.kind is Kind.WAIT:
            missing = await self._supply.missing(mirror, wants, asker)
            situation = replace(situation, ready=mirror.ready, wants_present=not missing, fetch_tried=True)
            route = decide("git-upload-pack", command, situation)
        return route

    def _suspect(self, mirror: Mirror, error: ProcessFailed | MirrorRefused) -> None:
        self.log.warn(
            "serving {repository} from its mirror failed: {error}", repository=mirror.identity.name, error=str(error)
        )
        # Whoever sends nonsense makes upload-pack refuse, before the first byte; others are served meanwhile.
        mirror.verification.doubt(serving=isinstance(error, MirrorRefused))

    # --- ways to answer -----------------------------------------------------------------------------------------------

    async def _pass(self, request: Any, identity: Identity, authorization: str | None, body: Body | None) -> None:
        self._metrics.served.labels("upstream").inc()
        operation = "git-upload-pack" if request.method == b"POST" else "info/refs?service=git-upload-pack"
        question = question_of(request, identity, operation, body=body, authorization=authorization)
        await self._passthrough.share(request, question)

    async def _memory(self, request: Any, content_type: bytes, body: bytes) -> None:
        self._metrics.served.labels("memory").inc()
        outcome_of(request).source = "memory"
        request.setHeader(b"Content-Type", content_type)
        request.setHeader(b"Cache-Control", b"no-cache, max-age=0, must-revalidate")
        await send(request, BytesSource(body), length=len(body))


def _v0(listing: Listing, version: int, cut: Sequence[str]) -> bytes:
    return v0_advertisement(listing.refs, object_format=listing.object_format, version1=version == 1, shallow=cut)


def _form(command: V2LsRefs) -> Hashable | None:
    """Return what tells a form that others will ask for too; None for a command so long that it is one client's own."""
    few = len(command.prefixes) <= _SHARED_PREFIXES and sum(map(len, command.prefixes)) <= _SHARED_PREFIX_BYTES
    return replace(command, agent=None) if few else None


def _require_media_type(given: str | None) -> None:
    """Refuse what is sent as something else: pages of other sites can have browsers post text, and nothing of git's.

    :raise UnsupportedMediaType: then.
    """
    if given is not None and given.partition(";")[0].strip().lower() != _REQUEST:
        raise UnsupportedMediaType(f"a request to git-upload-pack has the content type {_REQUEST}")


def _mark(request: Any, answer: Answer) -> None:
    if answer.stale:
        request.setHeader(b"Warning", _STALE)
