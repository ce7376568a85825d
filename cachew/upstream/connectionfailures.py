"""What went wrong between here and an upstream, in the house's own terms (pure)."""

from http import HTTPStatus

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.client import ResponseFailed as _ResponseFailed

from cachew.plumbing.errors import (
    CachewError,
    UpstreamBusy,
    UpstreamError,
    UpstreamNotGit,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from cachew.upstream.hosts import AddressRefused
from cachew.upstream.listing import MalformedListing, NotGit, RemoteError
from cachew.upstream.refusals import names_a_limit
from cachew.upstream.responseheads import UnreadableHead
from cachew.upstream.tunnel import ProxyRefused

_WRAPPERS = (RequestTransmissionFailed, ResponseNeverReceived, RequestGenerationFailed, _ResponseFailed)
_NOT_FOUND = ("not found", "not exported", "does not exist", "no such repository")
_DENIED = ("denied", "permission", "unauthorized", "forbidden", "authentication", "not allowed")


def reasons(failure: BaseException) -> list[BaseException]:
    """Return the failures inside one of Twisted's wrappers, or the failure itself."""
    inner = getattr(failure, "reasons", None)
    if not isinstance(failure, _WRAPPERS) or not inner:
        return [failure]
    return [found for reason in inner for found in reasons(reason.value)]


def was_cancelled(failure: BaseException) -> bool:
    """Whether the one who waited gave up."""
    return any(isinstance(one, (CancelledError, error.ConnectingCancelledError)) for one in reasons(failure))


def may_be_stale(failure: BaseException) -> bool:
    """Whether a kept connection may have been closed just when it was used, so that trying again makes sense."""
    return isinstance(failure, (RequestTransmissionFailed, ResponseNeverReceived)) and not was_cancelled(failure)


def explain(upstream: str, failure: Exception) -> Exception:
    """Return the exception to raise for a failed exchange.

    :param upstream: the URL for the message.
    :param failure: what Twisted raised; a failure of the request's own body is returned as it is.
    """
    if isinstance(failure, CachewError):
        return failure
    if was_cancelled(failure):
        return CancelledError()
    first = reasons(failure)[0]
    if isinstance(failure, RequestGenerationFailed) and isinstance(first, Exception):
        return first
    if isinstance(first, (error.TimeoutError, DeferredTimeout)):
        return UpstreamTimeout(upstream, "connecting took too long")
    return UpstreamUnreachable(upstream, _words(first))


def _words(failure: BaseException) -> str:
    if isinstance(failure, AddressRefused):
        return "its host resolves to no address that may be connected to"
    if isinstance(failure, ProxyRefused):
        return f"its proxy {failure}"
    if isinstance(failure, UnreadableHead):
        return str(failure)
    if isinstance(failure, error.DNSLookupError):
        return "its host name does not resolve"
    if isinstance(failure, UnicodeError):
        return "its host name is none that a certificate can be for"
    if isinstance(failure, error.ConnectionRefusedError):
        return "refused the connection"
    if isinstance(failure, SSL.Error):
        return f"TLS failed: {_tls_words(failure)}"
    if isinstance(failure, (error.ConnectionDone, error.ConnectionLost)):
        return "closed the connection without an answer"
    return f"the exchange failed ({type(failure).__name__})"


def _tls_words(failure: SSL.Error) -> str:
    queue = failure.args[0] if failure.args else ()
    words = [entry[-1] for entry in queue if isinstance(entry, tuple) and entry] if isinstance(queue, list) else []
    return ", ".join(map(str, words)) or type(failure).__name__


def explain_answer(upstream: str, failure: MalformedListing | RemoteError) -> Exception:
    """Return the exception to raise for an answer that arrived but is no listing."""
    if not isinstance(failure, RemoteError):
        kind = UpstreamNotGit if isinstance(failure, NotGit) else UpstreamUnreachable
        return kind(upstream, f"its answer is not git's: {failure}")
    explained = _remote_error(upstream, failure.message)
    explained.said = failure.message
    return explained


def _remote_error(upstream: str, message: str) -> UpstreamError:
    text = message.lower()
    if names_a_limit(text.encode()):
        return UpstreamBusy(upstream, f"remote error: {message}", status=HTTPStatus.TOO_MANY_REQUESTS)
    status = 404 if any(word in text for word in _NOT_FOUND) else 403 if any(word in text for word in _DENIED) else None
    if status is None:
        return UpstreamUnreachable(upstream, f"remote error: {message}")
    headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
    return UpstreamRefused(upstream, status=status, headers=headers, body=f"{message}\n".encode())
