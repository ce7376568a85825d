"""What is told of a repository out of memory: its refs, what can be asked for, where its bundles are.

The ref listing is the gate: it is answered from what the upstream has just said. Listings are made in the form in which
they are sent once for all who ask, and elsewhere when that takes long: rendering a hundred thousand refs takes longer
than sending them, and longer than others shall wait.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from cachew.http.bodies import send
from cachew.http.incoming import Body
from cachew.http.requests import SHORT, StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.kinds import EVERYTHING, Kind
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirroring import Mirroring
from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.remembered import Remembered
from cachew.plumbing.shared import Shared
from cachew.plumbing.streams import BytesSource
from cachew.smarthttp.advertise import ls_refs_response, v0_advertisement, v2_advertisement
from cachew.smarthttp.clientcommands import GitCommand, Probe, V2LsRefs, V2Other
from cachew.smarthttp.request import protocol_version
from cachew.upstream.listing import Listing
from cachew.web.access.guard import Right
from cachew.web.passthrough import PassThrough, question_of

_ADVERTISEMENT = b"application/x-git-upload-pack-advertisement"
_RESULT = b"application/x-git-upload-pack-result"
_COMMANDS = ("bundle-uri",)
_SHARED_PREFIXES = 100
_SHARED_PREFIX_BYTES = 4096
_STALE = b'110 - "response is stale"'
_REMEMBERED = 128 * 1024 * 1024
_FEW = 1000
"""Refs that are rendered at once."""
_AT_A_TIME = 2


class Renderings:
    """Renders listings.

    :param in_thread: for long ones.
    """

    def __init__(self, *, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._in_thread = in_thread
        self._made: Remembered[bytes] = Remembered(weigh=len, limit=_REMEMBERED)
        self._making: Shared[tuple[int, Hashable], bytes] = Shared()
        self._places = Slots(limit=_AT_A_TIME)

    async def of(self, listing: Listing, form: Hashable | None, make: Callable[[], bytes]) -> bytes:
        """Return a listing as it is sent.

        :param form: what tells how it is rendered; None for a form that nobody else will ask for.
        :param make: renders it.
        """
        if form is None:
            return await self._elsewhere(make)
        if (made := self._made.get(listing, form)) is not None:
            return made
        if len(listing.refs) <= _FEW:
            return self._made.of(listing, form, make)

        async def make_once() -> bytes:
            made = await self._elsewhere(make)
            return self._made.of(listing, form, lambda: made)

        return await self._making.run((id(listing), form), make_once)

    async def _elsewhere(self, make: Callable[[], bytes]) -> bytes:
        async with self._places.take(""):
            made: bytes = await self._in_thread(make)
            return made


class RefListings:
    """Answers ``info/refs`` and the commands that want no objects.

    :param mirrors: the mirrors.
    :param mirroring: has them made that are missing.
    :param freshness: the ref gate.
    :param passthrough: answers what can't be told here.
    :param bundle_uris: answers the ``bundle-uri`` command.
    :param metrics: counts where answers came from.
    :param in_thread: for rendering long listings.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        mirroring: Mirroring,
        freshness: Freshness,
        passthrough: PassThrough,
        bundle_uris: Callable[[Any, Right], Awaitable[bytes]],
        metrics: Metrics,
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        self._mirrors = mirrors
        self._mirroring = mirroring
        self._freshness = freshness
        self._passthrough = passthrough
        self._bundle_uris = bundle_uris
        self._metrics = metrics
        self._rendered = Renderings(in_thread=in_thread)

    async def info_refs(self, request: StreamingRequest, right: Right) -> None:
        """Answer ``GET …/info/refs?service=git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        version = protocol_version(request.getHeader("git-protocol"))
        mirror = await self.mirror(right)
        if not right.covers(mirror):
            await self._upstreams_own(request, right, version)
        elif version == 2:
            await self._capabilities(request, right)
        else:
            with _waited_for(mirror, self._mirroring.first):
                await self._old_listing(request, right, version)

    async def answer(self, request: StreamingRequest, right: Right, body: Body, command: GitCommand) -> Listing | None:
        """Answer a command that wants no objects.

        :param body: the request's, of which the command was read.
        :return: the refs that the client was told of, None where that was the upstream's to say.
        :raise CachewError: when neither the mirror nor the upstream can.
        """
        mirror = await self.mirror(right)
        if isinstance(command, Probe):
            await self.tell(request, b"")
        elif isinstance(command, V2LsRefs) and not command.unknown:
            if not command.prefixes:
                # Only ``git ls-remote`` asks for all there is: who clones names what is to be cloned.
                self._mirroring.first.only_listed(right.identity)
            with _waited_for(mirror, self._mirroring.first):
                return await self._ls_refs(request, right, body, command)
        elif isinstance(command, V2Other) and command.name in _COMMANDS and right.covers(mirror):
            await self.tell(request, await self._bundle_uris(request, right))
        else:
            await self._pass(request, right, body)
        return None

    async def mirror(self, right: Right) -> Mirror:
        """Return the repository's mirror, which is made in the background if there is none."""
        mirror = self._mirrors.obtain(right.identity)
        if not mirror.life.ready:
            await mirror.verification.settled_soon()
        if not mirror.life.ready:
            self._mirroring.want_after(right.identity)
        return mirror

    def upstream_version(self, right: Right) -> int:
        """Return which version of the protocol the upstream speaks, as far as is known."""
        listing = self._freshness.known.listing(right.identity)
        return 2 if listing is None else listing.protocol

    async def recognised(self, right: Right) -> Right:
        """Return the right once it is known what the name stands for, of which nobody has asked for refs.

        :raise UpstreamError: when the upstream can't be asked.
        """
        if right.instance is None and not self._freshness.knows(right.identity):
            _, right = await self.listed(right, self._freshness.least(right.identity))
        return right

    async def named(self, right: Right, wanted: Sequence[str]) -> tuple[Listing, Right]:
        """Return a listing of the refs that a request wants by their names, and the right to it as it is now.

        The client may have been told of some that have gone since.

        :raise UpstreamError: when the upstream can't be asked.
        """
        answer = await self._freshness.named(right.identity, tuple(wanted), right.authorization)
        right = await self._still(right, answer)
        mirror = self._mirrors.obtain(right.identity)
        if not right.covers(mirror):
            return answer.listing, right
        # What a mirror has that doesn't follow may have gone long ago.
        present = mirror.refs.by_name if mirror.updates.under_way else {}
        return mirror.refs.gone.completed(answer.listing, wanted, present), right

    async def listed(self, right: Right, kind: Kind) -> tuple[Answer, Right]:
        """Return what the upstream lists, and the right to it as it is now: the listing may show another repository.

        :raise UpstreamError: when the upstream can't be asked, and the right is not one to what is kept.
        """
        answer = await self._freshness.refs(right.identity, kind, right.authorization)
        return answer, await self._still(right, answer)

    async def tell(self, request: StreamingRequest, body: bytes, content_type: bytes = _RESULT) -> None:
        """Answer with what is in memory."""
        self._metrics.served.labels("memory").inc()
        request.outcome.source = "memory"
        request.setHeader(b"Content-Type", content_type)
        request.setHeader(b"Cache-Control", b"no-cache, max-age=0, must-revalidate")
        if len(body) <= SHORT:
            request.answer(body)
        else:
            await send(request, BytesSource(body), length=len(body))

    async def _pass(self, request: StreamingRequest, right: Right, body: Body | None) -> None:
        self._metrics.served.labels("upstream").inc()
        operation = "git-upload-pack" if request.method == b"POST" else "info/refs?service=git-upload-pack"
        question = question_of(request, right, operation, body=body)
        await self._passthrough.share(request, question)

    async def _upstreams_own(self, request: StreamingRequest, right: Right, version: int) -> None:
        """Tell what the upstream says that it speaks; it may just have been asked whether it lets the client read."""
        if version != 2:
            # Its next request is for objects.
            right = await self.recognised(right)
        told = self._passthrough.capabilities(right.identity) if version == 2 else None
        if told is None or not self._freshness.known.asked_within(right.identity, self._freshness.interval):
            await self._pass(request, right, None)
        else:
            await self.tell(request, told, _ADVERTISEMENT)

    async def _capabilities(self, request: StreamingRequest, right: Right) -> None:
        if not self._freshness.known.asked_within(right.identity, self._freshness.interval):
            # The listing that is asked for next has to be of the format that is announced here: a client that was told
            # of another one can only fail.
            _, right = await self.listed(right, self._freshness.least(right.identity))
        mirror = await self.mirror(right)
        if not right.covers(mirror):
            await self._pass(request, right, None)
            return
        body = v2_advertisement(object_format=mirror.refs.object_format, commands=_COMMANDS)
        await self.tell(request, body, _ADVERTISEMENT)

    async def _old_listing(self, request: StreamingRequest, right: Right, version: int) -> None:
        answer, right = await self.listed(right, EVERYTHING)
        mirror = await self.mirror(right)
        if answer.listing.empty or not right.covers(mirror):
            await self._pass(request, right, None)
            return
        mark_stale(request, answer)
        cut = mirror.place.repository.shallow()
        body = await self._rendered.of(answer.listing, (version, cut), lambda: _v0(answer.listing, version, cut))
        await self.tell(request, body, _ADVERTISEMENT)

    async def _ls_refs(self, request: StreamingRequest, right: Right, body: Body, command: V2LsRefs) -> Listing | None:
        answer = await self._freshness.answer(right.identity, command.prefixes, right.authorization)
        right = await self._still(right, answer)
        if answer.listing.empty or answer.listing.object_format != command.object_format:
            # Only the upstream knows what an empty repository should look like to this client, or what to tell one that
            # takes it for one of another format.
            await self._pass(request, right, body)
            return None
        mark_stale(request, answer)
        listing = answer.listing
        text = await self._rendered.of(listing, _form(command), lambda: ls_refs_response(listing.refs, command))
        await self.tell(request, text)
        return listing

    async def _still(self, right: Right, answer: Answer) -> Right:
        """Return the right to a listing as it is now.

        :raise UpstreamError: also when the listing is the mirror's, and the right is not one to what is kept.
        """
        right = await right.renewed()
        mirror = self._mirrors.obtain(right.identity)
        if answer.stale and not right.covers(mirror):
            raise UpstreamUnreachable(mirror.upstream_url, "does not say whether what is kept may still be read")
        return right


def _waited_for(mirror: Mirror, first: FirstClones) -> AbstractContextManager[None]:
    """Have a mirror that is to be made wait for a client that is told of refs."""
    return nullcontext() if mirror.life.ready else first.listing(mirror.identity)


def _v0(listing: Listing, version: int, cut: Sequence[str]) -> bytes:
    return v0_advertisement(listing.refs, object_format=listing.object_format, version1=version == 1, shallow=cut)


def _form(command: V2LsRefs) -> Hashable | None:
    """Return what tells a form that others will ask for too; None for a command so long that it is one client's own."""
    few = len(command.prefixes) <= _SHARED_PREFIXES and sum(map(len, command.prefixes)) <= _SHARED_PREFIX_BYTES
    return replace(command, agent=None) if few else None


def mark_stale(request: StreamingRequest, answer: Answer) -> None:
    """Tell a client that what it gets is the mirror's, where the upstream does not answer (RFC 7234, section 5.5.1)."""
    if answer.stale:
        request.setHeader(b"Warning", _STALE)
