"""How this server names itself to the outside.

GitHub and Bitbucket answer 404 to git requests whose ``User-Agent`` does not begin with ``git/``. So what is sent for a
client carries the client's own, and whatever else leaves here gets the server's own on its way out, so that no request
can be without one.
"""

from functools import partial
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from cachew.plumbing import tracing

_GIT = "git/"


def user_agent(git: str, cachew: str) -> str:
    """Return what this server calls itself.

    :param git: the version of the installed git.
    :param cachew: this server's own.
    """
    return f"{_GIT}{git} cachew/{cachew}"


def agent_key(shown: str | None) -> str:
    """Return what requests that share one answer must have in common of their ``User-Agent``.

    Upstreams treat all versions of git alike, but nobody shall get the refusal that another program has met with.
    """
    return "" if shown is None or shown.startswith(_GIT) else shown


@implementer(IAgent)
class TracedAgent:
    """Sends requests like another agent, each as a part of the current span, which the other server may go on with.

    :param agent: the other.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request, see :class:`IAgent`."""
        sent = Headers() if headers is None else headers.copy()
        parts = urlsplit(uri.decode("latin-1"))
        facts = {"http.request.method": method.decode("latin-1"), "server.address": parts.hostname or ""}
        span = tracing.begin("upstream request", leaves=True, **facts, **{"url.path": parts.path})
        for header, value in span.headers().items():
            sent.setRawHeaders(header, [value])
        answering = self._agent.request(method, uri, sent, bodyProducer)
        return answering.addCallbacks(partial(_answered, span), partial(_failed, span))


def _answered(span: tracing.Span, response: IResponse) -> IResponse:
    span.end(facts={"http.response.status_code": response.code})
    return response


def _failed(span: tracing.Span, failure: Failure) -> Failure:
    span.end(failed=type(failure.value).__name__)
    return failure
