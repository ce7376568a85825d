"""One HTTP exchange with an upstream: sending, waiting no longer than allowed, following redirects.

Failures come out in the house's own terms, whatever the layers below call them.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.http import PARTIAL_CONTENT
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from cachew.plumbing.errors import UpstreamRedirected, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, Source
from cachew.upstream import headers as http
from cachew.upstream.agent import Agents
from cachew.upstream.connectionfailures import explain, may_be_stale
from cachew.upstream.decoding import codings_of, decoded
from cachew.upstream.hosts import OTHER
from cachew.upstream.redirects import CODES, MOST, Redirects, location_of, same_origin, split_operation
from cachew.upstream.responsebodies import SourceBody, Watch, response_source
from cachew.upstream.storage import name_of

_TOO_MANY = 429
_MOST_OF_STORAGES = 3
_WAITS = 4
"""How often the time for one answer all those together may take that redirect."""
_FETCH = "/git-upload-pack"


class Exchange:
    """Sends requests to upstreams.

    :param reactor: where time comes from.
    :param agents: how requests are sent.
    :param redirects: says where redirects may lead.
    :param metrics: counts requests.
    :param idle: seconds to wait for the next piece of a response.
    :param label: returns what metrics call a URL's host.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        agents: Agents,
        redirects: Redirects,
        metrics: Metrics,
        idle: float,
        label: Callable[[str], str] = lambda url: OTHER,
    ) -> None:
        self._label = label
        self._reactor = reactor
        self._agents = agents
        self._redirects = redirects
        self._metrics = metrics
        self._idle = idle

    async def get_following(
        self, url: str, headers: http.RawHeaders, credential: str | None, *, seconds: float
    ) -> tuple[IResponse, str]:
        """Get `info/refs`, following redirects to admitted hosts; the credential stays with the origin it was for.

        :param credential: what to prove oneself with, see :mod:`cachew.upstream.presented_credential`.
        :param seconds: how long each answer is waited for, and all of them four times as long.
        :return: the response and the URL that gave it.
        :raise UpstreamUnreachable: when there is none, or a redirect that must not be followed.
        :raise UpstreamTimeout: when it does not begin in time.
        """
        asked, seen, until = url, {url}, self._reactor.seconds() + _WAITS * seconds
        for _ in range(MOST + 1):
            shown = [*headers, *http.of_credential(credential)]
            patience = max(min(seconds, until - self._reactor.seconds()), 0.0)
            response = await self._send(self._agents.pooled, b"GET", url, shown, None, None, patience)
            self._metrics.upstream_requests.labels("info-refs").inc()
            if response.code not in CODES:
                return response, url
            self.discard(url, response)
            target = self._redirects.follow(asked=asked, current=url, location=location_of(raw(response.headers)))
            if target in seen:
                raise UpstreamRedirected(split_operation(asked)[0], "redirected in a circle")
            credential = self._redirects.shown(credential, url, target)
            url = target
            seen.add(url)
        raise UpstreamRedirected(split_operation(url)[0], f"redirected more than {MOST} times")

    async def download(
        self,
        url: str,
        headers: http.RawHeaders,
        credential: str | None = None,
        *,
        seconds: float,
        follow: Callable[[str, str], str],
    ) -> tuple[IResponse, str]:
        """Get something from a storage; headers, which may be credentials, stay with the origin they were for.

        :param credential: what to prove oneself with besides, wherever it may be shown.
        :param seconds: how long each answer is waited for.
        :param follow: judges a redirect of the first URL to the second, returns where it leads, or raises.
        :return: the response and the URL that gave it.
        :raise UpstreamUnreachable: when there is none.
        :raise UpstreamTimeout: when it does not begin in time.
        """
        for _ in range(_MOST_OF_STORAGES + 1):
            name = name_of(url)
            shown = [*headers, *http.of_credential(credential)]
            response = await self._send(self._agents.pooled, b"GET", url, shown, None, None, seconds, name)
            self._metrics.upstream_requests.labels("lfs-object").inc()
            if response.code not in CODES:
                return response, url
            self.discard(name, response)
            target = follow(url, location_of(raw(response.headers)))
            headers = headers if same_origin(url, target) else []
            credential = self._redirects.shown(credential, url, target)
            url = target
        raise UpstreamUnreachable(name_of(url), f"redirected more than {_MOST_OF_STORAGES} times")

    async def ask(self, url: str, headers: http.RawHeaders, question: bytes, *, seconds: float) -> IResponse:
        """Post a question that changes nothing; if a kept connection turns out to be dead, once more over a new one.

        :param seconds: how long the answer is waited for.
        :raise UpstreamUnreachable: when there is none.
        :raise UpstreamTimeout: when it does not begin in time.
        """
        self._metrics.upstream_requests.labels("ls-refs").inc()
        try:
            response: IResponse = await self._request(
                self._agents.pooled, b"POST", url, headers, BytesSource(question), len(question)
            )
        except Exception as failure:
            if not may_be_stale(failure):
                raise explain(split_operation(url)[0], failure) from failure
        else:
            return response
        again = BytesSource(question)
        return await self._send(self._agents.single_use, b"POST", url, headers, again, len(question), seconds)

    async def pass_on(
        self,
        method: bytes,
        url: str,
        headers: http.RawHeaders,
        body: Source | None,
        length: int | None,
        *,
        seconds: float,
    ) -> IResponse:
        """Send a request on; over a kept connection if it changes nothing and can be sent twice.

        :param body: closed when it has been sent or the request failed.
        :param length: its length in bytes; None sends it chunked.
        :param seconds: how long the answer is waited for once the body is sent, and the upstream to take more of it.
        :raise UpstreamUnreachable: when there is no answer, or a redirect.
        :raise UpstreamTimeout: when it does not begin in time.
        """
        self._metrics.upstream_requests.labels("forward").inc()
        if isinstance(body, BytesSource) and split_operation(url)[1] == _FETCH:
            response = await self._fetch(method, url, headers, body, seconds)
        else:
            agent = self._agents.pooled if method in (b"GET", b"HEAD") and body is None else self._agents.single_use
            response = await self._send(agent, method, url, headers, body, length, seconds)
        if response.code in CODES:
            self.discard(url, response)
            base, operation = split_operation(url)
            what = f"redirected a {method.decode()} of {operation or 'it'}, which is not followed; use its new address"
            raise UpstreamRedirected(base, what)
        return response

    async def _fetch(
        self, method: bytes, url: str, headers: http.RawHeaders, body: BytesSource, seconds: float
    ) -> IResponse:
        """Send a request that asks for objects; if a kept connection is dead, once more over a new one.

        Whoever fetches has just asked for refs: another connection costs him a round trip, with TLS two or three.
        """
        again, length = body.again(), body.length
        try:
            return await self._send(self._agents.pooled, method, url, headers, body, length, seconds)
        except UpstreamUnreachable as failure:
            if failure.__cause__ is None or not may_be_stale(failure.__cause__):
                raise
        return await self._send(self._agents.single_use, method, url, headers, again, length, seconds)

    def body_of(self, url: str, response: IResponse) -> Source:
        """Return a response's content, decoded; whoever gets it closes it.

        :param url: the repository's, for messages.
        :raise UpstreamUnreachable: when it can't be decoded; a part of an encoded whole never can.
        """
        source = self._body(url, response)
        if not response.headers.hasHeader(b"content-encoding"):
            return source
        codings = codings_of(raw(response.headers))
        if codings and response.code == PARTIAL_CONTENT:
            source.close()
            raise UpstreamUnreachable(url, "sent a part of something encoded, which nobody asked for")
        return decoded(source, codings, upstream=url)

    async def turn(self) -> None:
        """Let everybody else do something first."""
        await deferLater(self._reactor, 0)

    def timed_out(self, url: str) -> None:
        """Count that an upstream was waited for in vain."""
        self._metrics.upstream_failures.labels(self._label(url), "timeout").inc()

    def discard(self, url: str, response: IResponse) -> None:
        """Give a response's body up."""
        self._body(url, response).close()

    def _body(self, url: str, response: IResponse) -> Source:
        return response_source(response, upstream=url, reactor=self._reactor, idle=self._idle)

    async def _send(
        self,
        agent: IAgent,
        method: bytes,
        url: str,
        headers: http.RawHeaders,
        body: Source | None,
        length: int | None,
        seconds: float,
        name: str | None = None,
    ) -> IResponse:
        base = split_operation(url)[0] if name is None else name
        watch = Watch(reactor=self._reactor, seconds=seconds, expired=lambda: request.cancel())
        watch.restart()
        try:
            request = self._request(agent, method, url, headers, body, length, watch)
            response: IResponse = await request
        except Exception as failure:
            if body is not None:
                body.close()
            if watch.has_expired:
                self.timed_out(url)
                raise UpstreamTimeout(base, f"did not answer within {seconds:.0f} seconds") from failure
            raise explain(base, failure) from failure
        finally:
            watch.close()
        return response

    def _request(
        self,
        agent: IAgent,
        method: bytes,
        url: str,
        headers: http.RawHeaders,
        body: Source | None,
        length: int | None,
        watch: Watch | None = None,
    ) -> Deferred[IResponse]:
        sent = Headers()
        for name, value in headers:
            sent.addRawHeader(name, value)
        producer = None if body is None else SourceBody(source=body, length=length, watch=watch)
        answered = _known_to_be_cancelled(agent.request(method, url.encode("ascii"), sent, producer))
        return answered.addBoth(self._note, self._label(url), self._reactor.seconds())

    def _note(self, result: IResponse | Failure, host: str, began: float) -> IResponse | Failure:
        """Count how an upstream answered; who gives up waiting says so himself."""
        failures = self._metrics.upstream_failures
        if not isinstance(result, Failure):
            self._metrics.upstream_seconds.labels(host).observe(self._reactor.seconds() - began)
            if result.code == _TOO_MANY or result.code >= 500:
                failures.labels(host, "status").inc()
        elif not result.check(CancelledError):
            failures.labels(host, "unreachable").inc()
        return result


def _known_to_be_cancelled(request: Deferred[IResponse]) -> Deferred[IResponse]:
    """Fail with :class:`CancelledError` when cancelled; an endpoint says that there is no such host."""
    cancelled = False

    def cancel(_: object) -> None:
        nonlocal cancelled
        cancelled = True
        request.cancel()

    def tell(result: IResponse | Failure) -> None:
        if cancelled:
            return
        if isinstance(result, Failure):
            answered.errback(result)
        else:
            answered.callback(result)

    answered: Deferred[IResponse] = Deferred(cancel)
    request.addBoth(tell)
    return answered


def raw(headers: Headers) -> http.RawHeaders:
    """Return Twisted's headers as pairs."""
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
