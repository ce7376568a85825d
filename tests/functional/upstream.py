"""A real upstream on loopback: twisted.web in front of ``git http-backend``, with a log and bad habits on demand.

It serves ``{root}/org/repo.git`` as ``/org/repo`` and ``/org/repo.git``, over HTTP or HTTPS, protocols v0 to v2, with
pushes and LFS for whom the gate lets in. Tests see every request in the journal and wait for its events.
"""

import io
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from tests.functional.exchanges import HEAD_SIZE, Exchange, Journal, inflate, kind_of, split
from tests.functional.gate import Gate
from tests.functional.gitcgi import GitHttpBackend, Responder, git_environment
from tests.functional.lfs import LfsStore
from tests.functional.misbehaviour import Cut, Delay, Hang, Hold, Misbehaviour, Refuse, Rule, Rules, Stall

GIT_CONFIG = {
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "core.compression": "0",
    "safe.directory": "*",
}
"""What public hosts allow, and no time spent on compression."""

log = Logger()


class Upstream:
    """The server.

    :param reactor: its reactor.
    :param root: an existing directory that holds the repositories.
    :param tls: the TLS settings when it speaks HTTPS.
    """

    def __init__(self, *, reactor: Any, root: Path, tls: CertificateOptions | None = None) -> None:
        self.root = root
        self.journal = Journal()
        self.gate = Gate()
        self.lfs = LfsStore()
        self.protocol_v2 = True
        self.git_config = dict(GIT_CONFIG)
        self.port = 0
        self._reactor, self._tls = reactor, tls
        self._rules = Rules()
        self._site = Connections(Site(Entrance(self), reactor=reactor))
        self._listening: Any = None
        self._running: set[Deferred[None]] = set()
        self._children: set[GitHttpBackend] = set()

    @property
    def url(self) -> str:
        """Its address, with a slash at the end."""
        return f"https://localhost:{self.port}/" if self._tls else f"http://127.0.0.1:{self.port}/"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._site.protocols)

    def path(self, repository: str) -> Path:
        """Return a repository's directory."""
        return self.root / f"{repository}.git"

    async def start(self) -> None:
        """Listen, on the same port as before if it has listened before."""
        if self._tls:
            self._listening = self._reactor.listenSSL(self.port, self._site, self._tls, interface="127.0.0.1")
        else:
            self._listening = self._reactor.listenTCP(self.port, self._site, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def stop(self) -> None:
        """Stop listening, drop every connection and end every child; the journal and the rules stay."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.stopListening()
        for running in list(self._running):
            running.cancel()
        await self._site.drop()
        for child in list(self._children):
            child.stopProducing()
        await gatherResults([child.done for child in self._children])

    def misbehave(
        self,
        behaviour: Misbehaviour,
        *,
        kind: str | None = None,
        repository: str | None = None,
        times: int | None = None,
    ) -> None:
        """Misbehave towards requests of a kind, of a repository, so many times."""
        self._rules.add(Rule(behaviour, kind, repository, times))

    def behave(self) -> None:
        """Forget all misbehaviour."""
        self._rules.clear()

    def count(self, kind: str | None = None, repository: str | None = None) -> int:
        """Return how many requests of a kind have arrived."""
        return len(self.journal.of(kind, repository))

    async def next_request(self, kind: str | None = None, repository: str | None = None) -> Exchange:
        """Wait for the next request of a kind."""
        return await self.journal.next(kind, repository)

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        """Return what a host of a kind answers instead of what git would; None for nothing."""
        return None

    def responder(self, request: Request, cut_after: int | None, stalled: Callable[[], object] | None) -> Responder:
        """Return what writes the answer to a request."""
        return Responder(request, cut_after, stalled)

    def accept(self, request: Request) -> None:
        """Begin to answer a request."""
        exchange = self._exchange(request)
        running = Deferred.fromCoroutine(self._answer(request, exchange))
        self._running.add(running)

        def ended(result: object) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError):
                log.failure("the test upstream failed", failure=result)

        def gone(_: Failure) -> None:
            exchange.close("lost")
            running.cancel()

        request.notifyFinish().addCallbacks(lambda _: exchange.close("finished"), gone)
        running.addBoth(ended)
        self.journal.record(exchange)

    def _exchange(self, request: Request) -> Exchange:
        path = unquote(request.path.decode("latin-1"))
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        assert request.content is not None
        body = inflate(request.content.read(HEAD_SIZE), headers.get("content-encoding", ""))
        request.content.seek(0)
        query = {name.decode(): values[-1].decode() for name, values in (request.args or {}).items()}
        repository, operation = split(path)
        version_2 = self.protocol_v2 and "version=2" in headers.get("git-protocol", "")
        kind = kind_of(operation, query.get("service", ""), version_2=version_2, body=body)
        return Exchange(request.method.decode(), path, query, headers, kind, repository, operation, body)

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        cut_after, stalled = None, None
        for behaviour in self._rules.take(exchange):
            match behaviour:
                case Delay(seconds):
                    await deferLater(self._reactor, seconds, lambda: None)
                case Hold():
                    await behaviour.wait()
                case Hang():
                    await Deferred()
                case Cut(after):
                    cut_after = after
                case Stall():
                    cut_after, stalled = behaviour.after, behaviour.reach
                case Refuse(status, headers, body):
                    return self._send(Responder(request), status, list(headers), body)
        responder = self.responder(request, cut_after, stalled)
        if cut_after == 0:
            return responder.cut()
        own = self.own_answer(exchange)
        if own is not None:
            return self._send(responder, own.status, list(own.headers), own.body)
        refusal = None if exchange.kind == "lfs-object" else self.gate.refusal(exchange)
        if refusal is not None:
            challenge = [("WWW-Authenticate", 'Basic realm="upstream"')] if refusal == 401 else []
            return self._send(responder, refusal, challenge, b"the upstream lets you not in\n")
        if exchange.kind in ("lfs", "lfs-object"):
            return self._serve_lfs(request, exchange, responder)
        return self._serve_git(request, exchange, responder)

    def _send(self, responder: Responder, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        has_type = any(name.lower() == "content-type" for name, _ in headers)
        plain = [] if has_type else [("Content-Type", "text/plain")]
        responder.start(status, [*headers, *plain, ("Content-Length", str(len(body)))])
        if body:
            responder.write(body)
        responder.finish()

    def _serve_lfs(self, request: Request, exchange: Exchange, responder: Responder) -> None:
        assert request.content is not None
        may_push = self.gate.may_push(exchange)
        answer = self.lfs.answer(exchange, request.content.read(), url=self.url, may_push=may_push)
        if answer.status == 403 and exchange.kind == "lfs" and "authorization" not in exchange.headers:
            self._send(responder, 401, [("LFS-Authenticate", 'Basic realm="upstream"')], b"")
            return
        self._send(responder, answer.status, [("Content-Type", answer.content_type)], answer.body)

    def _serve_git(self, request: Request, exchange: Exchange, responder: Responder) -> None:
        child = GitHttpBackend(request=request, responder=responder)
        self._children.add(child)
        child.done.addCallback(lambda _: self._children.discard(child))
        child.spawn(self._reactor, http_backend(), self._environment(request, exchange))

    def _environment(self, request: Request, exchange: Exchange) -> dict[str, str]:
        headers = exchange.headers
        assert request.content is not None
        length = request.content.seek(0, io.SEEK_END)
        request.content.seek(0)
        environment = git_environment(self.root, self.git_config) | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": exchange.path,
            "REQUEST_METHOD": exchange.method,
            "QUERY_STRING": request.uri.partition(b"?")[2].decode("latin-1"),
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if self.protocol_v2:
            environment["GIT_PROTOCOL"] = headers.get("git-protocol", "")
        if exchange.kind in ("push", "push-refs"):
            environment["REMOTE_USER"] = "pusher"
        return environment


class Entrance(Resource):
    """Gives every request to the upstream."""

    isLeaf = True

    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self._upstream = upstream

    def render(self, request: Request) -> int:
        """Begin to answer."""
        self._upstream.accept(request)
        return NOT_DONE_YET


@implementer(IProtocolNegotiationFactory)
class Connections(WrappingFactory[ProtocolWrapper]):
    """Knows the open connections of a site, so that they can be dropped."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._emptied: list[Deferred[None]] = []
        self.noisy = site.noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 over TLS."""
        return [b"http/1.1"]

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Forget a connection that is gone."""
        super().unregisterProtocol(p)
        if not self.protocols:
            waiting, self._emptied = self._emptied, []
            for deferred in waiting:
                deferred.callback(None)

    async def drop(self) -> None:
        """Drop every connection and wait until they are gone."""
        if not self.protocols:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        for protocol in list(self.protocols):
            protocol.abortConnection()
        await emptied


@cache
def http_backend() -> str:
    """Return the path of ``git-http-backend``."""
    done = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return done.stdout.strip() + "/git-http-backend"
