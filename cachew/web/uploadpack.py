"""Clones and fetches: `info/refs` and `git-upload-pack`.

The ref listing is the gate: it is answered from what the upstream has just said, out of memory. Objects come from the
mirror through the pack cache and ``git http-backend``; what the mirror can't serve, the upstream does. That choice is
open until the first byte has left.
"""

import hashlib
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from cachew.http.bodies import send
from cachew.http.collecting import Body, HeldBody
from cachew.http.requests import StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import EVERYTHING, Kind
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.wants import Asker, Supply
from cachew.plumbing.errors import ProcessFailed, UnsupportedMediaType, UpstreamUnreachable
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource
from cachew.smarthttp import inwords, routing, wantedrefs
from cachew.smarthttp.advertise import ls_refs_response, v0_advertisement, v2_advertisement
from cachew.smarthttp.clientcommands import Fetch, GitCommand, Probe, V2Fetch, V2LsRefs, V2Other
from cachew.smarthttp.mirrorpacks import MirrorRefused
from cachew.smarthttp.request import protocol_version, read_command
from cachew.smarthttp.routing import Route, Situation, decide
from cachew.upstream.listing import Listing
from cachew.web.access.guard import Right
from cachew.web.packs import Packs
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
_NEXT = 1.0
"""Seconds within which a client of protocol v2 asks for the refs after it has asked for the capabilities."""
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
    :param patience: seconds that a fetch waits until it is certain that a repository is still the same.
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
        bundle_uris: Callable[[Any, Right], Awaitable[bytes]],
        patience: float,
        client_of: Callable[[Any], str],
        cloned: Callable[[Identity], object] = lambda identity: None,
    ) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._supply = supply
        self._packs = packs
        self._passthrough, self._metrics = passthrough, metrics
        self._body_limit = body_limit
        self._bundle_uris = bundle_uris
        self._cloned = cloned
        self._client_of, self._patience = client_of, patience
        self._in_thread, self._long = in_thread, Slots(limit=_LONG_AT_A_TIME)
        self._rendered = Renderings(in_thread=in_thread)

    # --- info/refs ----------------------------------------------------------------------------------------------------

    async def info_refs(self, request: StreamingRequest, right: Right) -> None:
        """Answer ``GET …/info/refs?service=git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        version = protocol_version(request.getHeader("git-protocol"))
        mirror = await self._mirror(right)
        if not right.covers(mirror):
            await self._pass(request, right, None)
        elif version == 2:
            await self._capabilities(request, right)
        else:
            await self._old_listing(request, right, version)

    async def _capabilities(self, request: StreamingRequest, right: Right) -> None:
        if not self._freshness.asked_within(right.identity, max(self._freshness.interval, _NEXT)):
            # The listing that is asked for next has to be of the format that is announced here.
            _, right = await self._answer(right, self._freshness.least(right.identity))
        mirror = await self._mirror(right)
        if not right.covers(mirror):
            await self._pass(request, right, None)
            return
        body = v2_advertisement(object_format=mirror.object_format, commands=_COMMANDS)
        await self._memory(request, _ADVERTISEMENT, body)

    async def _old_listing(self, request: StreamingRequest, right: Right, version: int) -> None:
        answer, right = await self._answer(right, EVERYTHING)
        mirror = await self._mirror(right)
        if answer.listing.empty or not right.covers(mirror):
            await self._pass(request, right, None)
            return
        _mark(request, answer)
        cut = mirror.repository.shallow()
        body = await self._rendered.of(answer.listing, (version, cut), lambda: _v0(answer.listing, version, cut))
        await self._memory(request, _ADVERTISEMENT, body)

    async def _mirror(self, right: Right) -> Mirror:
        """Return the repository's mirror, which is made in the background if there is none."""
        mirror = self._mirrors.obtain(right.identity)
        await mirror.verification.settled_soon()
        if not mirror.ready:
            self._mirrors.want_after(right.identity)
        return mirror

    async def _answer(self, right: Right, kind: Kind, interval: float | None = None) -> tuple[Answer, Right]:
        """Return what the upstream lists, and the right to it as it is now: the listing may show another repository."""
        answer = await self._freshness.refs(right.identity, kind, right.authorization, interval=interval)
        return answer, await self._still(right, answer)

    async def _still(self, right: Right, answer: Answer) -> Right:
        """Return the right to a listing as it is now.

        :raise UpstreamError: also when the listing is the mirror's, and the right is not one to what is kept.
        """
        right = await right.renewed()
        mirror = self._mirrors.obtain(right.identity)
        if answer.stale and not right.covers(mirror):
            raise UpstreamUnreachable(mirror.upstream_url, "does not say whether what is kept may still be read")
        return right

    # --- git-upload-pack ----------------------------------------------------------------------------------------------

    async def upload_pack(self, request: StreamingRequest, right: Right) -> None:
        """Answer ``POST …/git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        encoding, protocol = request.getHeader("content-encoding"), request.getHeader("git-protocol")
        _require_media_type(request.getHeader("content-type"))
        body = await request.collect(self._body_limit, encoding=encoding)
        command = await self._command(right.identity, body, protocol)
        request.outcome.shape = inwords.of_command(command)
        right = await right.renewed()
        mirror = await self._mirror(right)
        if isinstance(command, Probe):
            await self._memory(request, _RESULT, b"")
        elif isinstance(command, V2LsRefs):
            await self._ls_refs(request, right, body, command)
        elif isinstance(command, V2Other) and command.name in _COMMANDS and right.covers(mirror):
            await self._memory(request, _RESULT, await self._bundle_uris(request, right))
        else:
            await self._fetch(request, right, body, command)
            if isinstance(command, Fetch) and command.done and not command.haves:
                self._cloned(right.identity)

    async def _command(self, identity: Identity, body: Body, protocol: str | None) -> GitCommand:
        if body.size <= _SHORT:
            return read_command(body.pieces(), protocol)
        async with self._long.take(identity.name):
            command: GitCommand = await self._in_thread(read_command, body.pieces(), protocol)
            return command

    async def _ls_refs(self, request: StreamingRequest, right: Right, body: Body, command: V2LsRefs) -> None:
        if command.unknown:
            await self._pass(request, right, body)
            return
        answer = await self._freshness.answer(right.identity, command.prefixes, right.authorization)
        right = await self._still(right, answer)
        if answer.listing.empty or answer.listing.object_format != command.object_format:
            # Only the upstream knows what an empty repository should look like to this client, or what to tell one that
            # takes it for one of another format.
            await self._pass(request, right, body)
            return
        _mark(request, answer)
        listing = answer.listing
        text = await self._rendered.of(listing, _form(command), lambda: ls_refs_response(listing.refs, command))
        await self._memory(request, _RESULT, text)

    async def _fetch(self, request: StreamingRequest, right: Right, body: Body, command: GitCommand) -> None:
        wanted = b""
        if isinstance(command, V2Fetch) and command.want_refs:
            names, right = await self._names(right, command.want_refs)
            if (absent := next((name for name in command.want_refs if name not in names), None)) is not None:
                await self._memory(request, _RESULT, wantedrefs.unknown(absent))
                return
            body, wanted = await self._resolved(body, names), wantedrefs.section(names)
            command = await self._command(right.identity, body, request.getHeader("git-protocol"))
        right = await right.settled(self._patience)
        mirror = self._mirrors.obtain(right.identity)
        # A mirror whose packs somebody has written to is not ready until they were read.
        mirror.intact()
        await mirror.verification.settled_soon()
        asker = Asker(self._client_of(request), right.authorization)
        route = await self._route(mirror, asker, command, covered=right.covers(mirror))
        right = await right.renewed()
        if route.kind is routing.Kind.MIRROR and isinstance(command, Fetch) and right.covers(mirror):
            try:
                await self._packs.serve(request, mirror, command, body, wanted)
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
            await self._packs.serve_upstream(request, right, mirror, command, body, wanted)
        else:
            await self._pass(request, right, body)

    async def _names(self, right: Right, wanted: Sequence[str]) -> tuple[dict[str, str], Right]:
        """Return what the refs are that a request wants by their names, and the right to it as it is now."""
        answer = await self._freshness.answer(right.identity, tuple(wanted), right.authorization)
        right, listed = await self._still(right, answer), answer.listing.by_name
        return {name: ref.oid for name in wanted if (ref := listed.get(name)) is not None and ref.oid}, right

    async def _resolved(self, body: Body, names: Mapping[str, str]) -> Body:
        """Return a request with what the refs are that it wants by their names."""
        if body.size <= _SHORT:
            data = wantedrefs.asked_for(body.pieces(), names)
        else:
            data = await self._in_thread(wantedrefs.asked_for, body.pieces(), names)
        return HeldBody(data, digest=hashlib.sha256(data).hexdigest())

    async def _route(self, mirror: Mirror, asker: Asker, command: GitCommand, *, covered: bool) -> Route:
        """Decide who answers.

        :param covered: whether the asker may be answered from the mirror.
        """
        wants = command.wants if isinstance(command, Fetch) else ()
        present = covered and not await mirror.lacking(wants)
        situation = Situation(ready=covered, object_format=mirror.object_format, wants_present=present)
        route = decide("git-upload-pack", command, situation)
        if route.kind is routing.Kind.WAIT:
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

    async def _pass(self, request: StreamingRequest, right: Right, body: Body | None) -> None:
        self._metrics.served.labels("upstream").inc()
        operation = "git-upload-pack" if request.method == b"POST" else "info/refs?service=git-upload-pack"
        question = question_of(request, right, operation, body=body)
        await self._passthrough.share(request, question)

    async def _memory(self, request: StreamingRequest, content_type: bytes, body: bytes) -> None:
        self._metrics.served.labels("memory").inc()
        request.outcome.source = "memory"
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


def _mark(request: StreamingRequest, answer: Answer) -> None:
    if answer.stale:
        request.setHeader(b"Warning", _STALE)
