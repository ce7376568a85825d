"""Packs of upstreams, for what their mirrors can't serve."""

import hashlib
import re
import uuid
from http import HTTPStatus

from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest
from cachew.mirrors.firstclones import Find, FirstClones, Serving
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.refs import RefState, of_listing
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.joinedsource import JoinedSource
from cachew.plumbing.remembered import Remembered
from cachew.plumbing.streams import PIECE, Source, WatchedSource, owned, read_start
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.keptpacks import mark, pack_key
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.headers import is_for_people, media_type, retry_after
from cachew.upstream.presented_credential import Shown, as_it_is
from cachew.upstream.remotes import Remotes
from cachew.upstream.useragent import agent_key
from cachew.web.access.guard import Right

RESULT = b"application/x-git-upload-pack-result"
_REQUEST = b"application/x-git-upload-pack-request"
_REFUSAL_TEXT = 4096
_HEAD = 4
_PACKET = re.compile(rb"[0-9a-fA-F]{4}")


def _nothing() -> None:
    """Do nothing."""


def _in_trouble(url: str, response: UpstreamResponse) -> UpstreamError:
    """Return what to raise for an answer that neither serves the client nor refuses it."""
    reason, status = f"answered {response.status} to a fetch", response.status
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UpstreamBusy(url, reason, status=status, retry_after=retry_after(response.headers))
    return UpstreamUnreachable(url, reason)


class UpstreamPacks:
    """Has upstreams answer fetches.

    :param client: asks them.
    :param remotes: where they are.
    :param freshness: knows the refs of repositories that have no mirror yet.
    :param shown: says whose credential upstreams are shown.
    :param first: is told what clients receive of repositories that have no mirror yet, if anybody is.
    """

    def __init__(
        self,
        *,
        client: UpstreamClient,
        remotes: Remotes,
        freshness: Freshness,
        shown: Shown = as_it_is,
        first: FirstClones | None = None,
    ) -> None:
        self._client = client
        self._remotes = remotes
        self._freshness = freshness
        self._shown = shown
        self._first = first
        self._marks: Remembered[str] = Remembered()
        self._process = uuid.uuid4().hex

    def key(self, right: Right, mirror: Mirror, command: Fetch, agent: str | None) -> str:
        """Return under which key an answer is kept.

        :param agent: the client's ``User-Agent``.
        """

        def marks(prefix: str) -> str:
            known = self._freshness.known.listing(right.identity, prefix)
            found = of_listing(known) if known is not None else RefState()
            return self._marks.of(found, prefix, lambda: mark(found.refs, prefix))

        return pack_key(f"{self._of_whom(right, mirror)} {agent_key(agent)}".rstrip(), command, marks)

    def _of_whom(self, right: Right, mirror: Mirror) -> str:
        """Return what tells the upstream's answers that may be shared from others."""
        if right.instance is not None:
            return f"{right.instance.name} {mirror.life.pack_source}"
        # As long as it is not certain which repository it is, each client's answers are its own.
        shown = hashlib.sha256(repr(right.authorization).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{right.identity.name} {self._process} {right.era} {shown}"

    async def produce(
        self,
        request: StreamingRequest,
        right: Right,
        mirror: Mirror,
        command: Fetch,
        body: Body,
        kept: Find,
    ) -> Source:
        """Return an upstream's pack.

        :param right: what the request may read.
        :param kept: gives the pack once it is kept.
        :raise UpstreamError: when there is none.
        """
        serving = self._serving(right, mirror, command, kept)
        try:
            source = await self._ask(request, right, body)
        except BaseException:
            serving.ended()
            raise
        return WatchedSource(source, serving.moved, serving.ended)

    def _serving(self, right: Right, mirror: Mirror, command: Fetch, kept: Find) -> Serving:
        """Tell what a client is about to receive, if that may be of use for a mirror."""
        if self._first is None or mirror.life.ready or right.instance is None:
            return Serving(_nothing, _nothing)
        wants = command.wants if command.is_whole else None
        return self._first.began(right.instance, wants, kept)

    async def _ask(self, request: StreamingRequest, right: Right, body: Body) -> Source:
        identity = right.identity
        protocol, agent = request.getHeader("git-protocol"), request.getHeader("user-agent")
        url = self._remotes.of(identity).url
        headers = [(b"Content-Type", _REQUEST), (b"Accept", RESULT)]
        if protocol is not None:
            headers.append((b"Git-Protocol", protocol.encode("latin-1")))
        if agent is not None:
            headers.append((b"User-Agent", agent.encode("latin-1")))
        credential = await self._shown(identity, right.authorization)
        response = await self._client.forward(
            b"POST", f"{url}/git-upload-pack", headers, body.source(), body.size, credential=credential
        )
        with owned(response.source):
            if response.status != HTTPStatus.OK and not 400 <= response.status < 500:
                raise _in_trouble(url, response)
            if response.status != HTTPStatus.OK:
                words = await read_start(response.source, _REFUSAL_TEXT)
                raise UpstreamRefused(url, status=response.status, headers=response.headers, body=words)
            if media_type(response.headers).encode() == RESULT:
                return response.source
            # Git's clients don't look at the type, and small servers name any.
            start = b""
            while len(start) < _HEAD and (piece := await response.source.read(PIECE)):
                start += piece
            if is_for_people(response.headers) or not _PACKET.match(start):
                raise UpstreamUnreachable(url, "its answer to a fetch is not git's")
            return JoinedSource(start, response.source)
