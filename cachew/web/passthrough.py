"""Requests that the upstream answers: pushes, LFS, and everything for a repository without a mirror.

Nothing is held here but what several clients ask for at once: while a repository is being mirrored for the first time,
equal requests follow one response of the upstream, from its first byte to its last.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

from cachew.http.bodies import send
from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity, parse_path
from cachew.plumbing.background import Background
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.followed import Followed
from cachew.plumbing.production import Received, Room, leaving
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, Source, WatchedSource, owned
from cachew.upstream.advertisement import advertisement_of, capabilities_of
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.dumblisting import DUMB, begins_dumb
from cachew.upstream.presented_credential import Shown, as_it_is
from cachew.upstream.redirects import split_operation
from cachew.upstream.remotes import Remotes
from cachew.upstream.useragent import agent_key
from cachew.upstream.verdictmemory import UpstreamChanges
from cachew.web.access.guard import AUTHORIZATION_ALONE, ClientCredentials, Right

_RELAYED = ("accept", "content-type", "git-protocol", "pragma", "user-agent")
_SHORT = 16 * 1024
"""Bytes of a response that tell what an upstream speaks, if it does."""


@dataclass(frozen=True)
class Question:
    """A request to the upstream that others may ask too.

    :param identity: the repository.
    :param method: the method.
    :param operation: the operation with its query.
    :param headers: the headers that shape the answer, without credentials.
    :param body: the body as it is sent, None for none.
    :param key: what equal requests have in common.
    :param authorization: the client's own credential.
    """

    identity: Identity
    method: bytes
    operation: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: Body | None
    key: str
    authorization: str | None


class _Response(Received):
    """A response of the upstream that is received for all who have asked the same.

    :param heard: is given the start of one when it is whole.
    :param room: tells whether the disk still has room for more of it.
    """

    def __init__(self, upstream: UpstreamResponse, path: Path, heard: Callable[[bytes], object], room: Room) -> None:
        super().__init__(source=upstream.source, spool=Spool(path=path), room=room)
        self.status = upstream.status
        self.headers = list(upstream.headers)
        self._heard = heard
        self._start = b""

    async def received(self, piece: bytes) -> None:
        """Hold its start."""
        if len(self._start) <= _SHORT:
            self._start += piece

    async def whole(self) -> None:
        """Tell how it began."""
        self._heard(self._start)


class PassThrough:
    """Passes requests to upstreams.

    :param client: the HTTP client.
    :param remotes: where the upstreams are.
    :param spools: a directory for responses that several clients follow.
    :param min_free: bytes that these leave free on their disk.
    :param background: where shared responses are received.
    :param shown: says whose credential is shown for what clients share.
    :param credentials: says what of a request is its client's credential.
    """

    def __init__(
        self,
        *,
        client: UpstreamClient,
        remotes: Remotes,
        spools: Path,
        background: Background,
        min_free: int = 0,
        shown: Shown = as_it_is,
        credentials: ClientCredentials = AUTHORIZATION_ALONE,
    ) -> None:
        self._credentials = credentials
        self._client = client
        self._remotes = remotes
        self._spools = spools
        self._min_free = min_free
        self._shown = shown
        self._responses: Followed[str, _Response] = Followed(start=background.start)

    async def stream(
        self,
        request: StreamingRequest,
        identity: Identity,
        operation: str,
        *,
        on_piece: Callable[[], object] = lambda: None,
        body: bytes | None = None,
        change: Callable[[UpstreamResponse], Awaitable[UpstreamResponse]] | None = None,
    ) -> int:
        """Pass one request on and its response back, both while they come, with the client's own credentials.

        :param operation: the operation with its query, as the client sent them.
        :param on_piece: called before each piece of the response leaves, if the upstream did what was asked.
        :param body: the request's, if it has been read already.
        :param change: makes of the upstream's response what the client gets.
        :return: the upstream's status.
        :raise UpstreamError: when there is no response.
        """
        request.outcome.source = "upstream"
        response = await self._client.forward(
            request.method,
            f"{self._remotes.of(identity).url}/{operation}",
            _raw_headers(request),
            _body_of(request) if body is None else BytesSource(body),
            request.body_length if body is None else len(body),
            credential=self._credentials.of(request, identity.host),
            written=parse_path(request.raw_path).written,
        )
        with owned(response.source):
            if change is not None:
                response = await change(response)
        with owned(response.source):
            _begin(request, response.status, list(response.headers))
        source = WatchedSource(response.source, on_piece) if response.status == 200 else response.source
        await send(request, source, length=response.length)
        return response.status

    async def share(self, request: StreamingRequest, question: Question) -> None:
        """Answer a request with a response of the upstream that equal requests follow.

        :raise UpstreamError: when there is no response.
        """
        request.outcome.source = "upstream"
        share = await self._responses.follow(question.key, lambda: self._ask(question))
        if share is None:  # the disk has no room for what would be shared
            alone = await self._forward(question)
            status, headers, source = alone.status, list(alone.headers), alone.source
        else:
            status, headers, source = share.production.status, share.production.headers, share.source
        with owned(source):
            _begin(request, status, headers)
        await send(request, source)

    async def _ask(self, question: Question) -> _Response | None:
        upstream = await self._forward(question)
        with owned(upstream.source):
            if free_bytes(self._spools) < self._min_free + (upstream.length or 0):
                upstream.source.close()
                return None
            self._spools.mkdir(parents=True, exist_ok=True)
            heard, room = partial(self._heard, question, upstream), leaving(self._spools, self._min_free)
            return _Response(upstream, self._spools / uuid.uuid4().hex, heard, room)

    async def _forward(self, question: Question) -> UpstreamResponse:
        credential = await self._shown(question.identity, question.authorization)
        return await self._client.forward(
            question.method,
            f"{self._remotes.of(question.identity).url}/{question.operation}",
            question.headers,
            question.body.source() if question.body is not None else None,
            question.body.size if question.body is not None else None,
            credential=credential,
        )

    def _heard(self, question: Question, response: UpstreamResponse, body: bytes) -> None:
        """Learn what the upstream speaks from what it has told a client, so that it need not be asked once more."""
        base, operation = split_operation(response.url)
        if question.body is not None or response.status != HTTPStatus.OK or not operation.startswith("/info/refs"):
            return
        capabilities = capabilities_of(body) or (DUMB if begins_dumb(body) else None)
        if capabilities is not None:
            self._remotes.of(question.identity).speaks(replace(capabilities, base_url=base))

    def capabilities(self, identity: Identity) -> bytes | None:
        """Return what the upstream says that it speaks, as v2 tells it; None when it has to be asked."""
        known = self._remotes.of(identity).capabilities
        return None if known is None or known.protocol != 2 else advertisement_of(known)


class Pushes:
    """Passes pushes on, and has what they change be seen at once.

    :param passthrough: the way to upstreams.
    :param changes: where it is noted as soon as something may have been pushed.
    :param pushed: called when a push has been answered: the mirror follows at once, and the pusher doesn't wait for it.
    """

    def __init__(
        self, *, passthrough: PassThrough, changes: UpstreamChanges, pushed: Callable[[Identity], object]
    ) -> None:
        self._passthrough = passthrough
        self._changes = changes
        self._pushed = pushed

    async def info_refs(self, request: StreamingRequest, identity: Identity) -> None:
        """Answer ``GET …/info/refs?service=git-receive-pack``.

        :raise UpstreamError: when the upstream does not.
        """
        status = await self._passthrough.stream(request, identity, "info/refs?service=git-receive-pack")
        if status == HTTPStatus.OK:
            # Git compares these refs with its own and may give up right here; then a pull follows at once.
            self._changes.note(identity.name)

    async def handle(self, request: StreamingRequest, identity: Identity) -> None:
        """Answer ``POST …/git-receive-pack``.

        :raise UpstreamError: when the upstream does not.
        """
        # The pusher's next fetch may come as soon as he has read the last piece, so each makes older listings void.
        accepted, status = False, 0

        def on_piece() -> None:
            nonlocal accepted
            accepted = True
            self._changes.note(identity.name)

        try:
            status = await self._passthrough.stream(request, identity, "git-receive-pack", on_piece=on_piece)
        finally:
            # Whoever may not push must not make this server ask its upstreams; what has come whole may have been taken.
            if accepted or ((not status or status >= 500) and request.body.ended):
                self._changes.note(identity.name)
            if accepted:
                _once_answered(request, partial(copy_context().run, self._pushed, identity))


def _once_answered(request: StreamingRequest, then: Callable[[], object]) -> None:
    """Do something as soon as the whole answer has been written, or its client is gone."""
    if getattr(request, "channel", None) is None:
        then()
    else:
        request.notifyFinish().addBoth(lambda ended: then())


def question_of(
    request: StreamingRequest, right: Right, operation: str, *, body: Body | None, also: Sequence[str] = ()
) -> Question:
    """Make the question that a request asks the upstream.

    :param right: what the request may read; what one era's clients share is not for those of the next.
    :param operation: the operation with its query.
    :param also: further headers that shape the answer.
    """
    identity, authorization = right.identity, right.authorization
    headers = tuple(
        (name.encode(), value.encode("latin-1"))
        for name in (*_RELAYED, *also)
        if (value := request.getHeader(name)) is not None
    )
    shaping = [header for header in headers if header[0] != b"user-agent"]
    parts = [f"{identity.name} {right.era}", request.method.decode("latin-1"), operation, repr(shaping)]
    parts += [agent_key(request.getHeader("user-agent")), "" if body is None else body.digest, authorization or ""]
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    return Question(identity, request.method, operation, headers, body, key, authorization)


def _body_of(request: StreamingRequest) -> Source | None:
    return None if request.method in (b"GET", b"HEAD") else request.body


def _raw_headers(request: StreamingRequest) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]


def _begin(request: StreamingRequest, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    # 500 would say that this server has failed; the text below it is the upstream's.
    request.setResponseCode(502 if status == 500 else status)
    for name in {name for name, _ in headers}:
        request.responseHeaders.removeHeader(name)
    for name, value in headers:
        request.responseHeaders.addRawHeader(name, value)
