"""The one table from what went wrong to what the client is told."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from twisted.internet.defer import CancelledError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from cachew.http.requests import StreamingRequest
from cachew.plumbing import errors
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.diskspace import FULL

Headers = tuple[tuple[bytes, bytes], ...]

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    # A subclass stands before its base.
    (errors.BodyTimedOut, 408),
    (errors.BadRequest, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.MethodNotAllowed, 405),
    (errors.PreconditionFailed, 412),
    (errors.TooLarge, 413),
    (errors.TooMany, 413),
    (errors.TooOften, 429),
    (errors.UnsupportedEncoding, 415),
    (errors.UnsupportedMediaType, 415),
    (errors.RangeNotSatisfiable, 416),
    (errors.NotCheckedOut, 422),
    (errors.Busy, 503),
    (errors.NoRoom, 507),
    (errors.StorageUnavailable, 503),
    # What is damaged is removed when that is found, and records settle: the next try finds another state.
    (errors.CorruptObject, 503),
    (errors.Conflict, 503),
    (errors.UpstreamTimeout, 504),
    (errors.UpstreamBusy, 503),
    (errors.UpstreamError, 502),
    (errors.SpoolFailed, 502),
    (errors.ProcessTimedOut, 504),
    (CancelledError, 503),
    # What fails on this machine may be over at the next try: damaged mirrors are made anew, disks are tidied.
    (errors.CachewError, 503),
)
_OF_THE_BODY = frozenset({b"content-type", b"content-encoding", b"content-language"})
_NOT_RELAYED = frozenset({b"set-cookie", b"content-length", b"transfer-encoding", b"connection"})


@dataclass(frozen=True)
class FailureResponse:
    """A response that tells of a failure.

    :param status: its status code.
    :param body: its text.
    :param headers: its headers, ``Content-Type`` among them.
    :param own: whether this server speaks, and in plain text.
    :param unexpected: whether nobody foresaw this, so that it must be logged with its traceback.
    """

    status: int
    body: bytes
    headers: Headers
    unexpected: bool = False
    own: bool = False


def answer_to(error: BaseException) -> FailureResponse:
    """Return what a client is told when its request ends in ``error``."""
    if isinstance(error, errors.UpstreamRefused):
        return _relayed(error)
    if isinstance(error, errors.SpoolFailed) and isinstance(error.__cause__, OSError | errors.StorageUnavailable):
        # What was to be followed came to nothing for a reason of the disk's.
        return answer_to(error.__cause__)
    if isinstance(error, RequestRedirect):
        # The router would add a slash; nothing here moves.
        return _text(404, "not found")
    if isinstance(error, HTTPException):
        return _text(error.code or 500, (error.name or "error").lower())
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if isinstance(error, errors.UpstreamBusy) and error.status == HTTPStatus.TOO_MANY_REQUESTS:
        # git (http.maxRetries) and git-lfs wait and try again for no other status.
        status = error.status
    if isinstance(error, CancelledError):
        return _text(503, "the server gave this request up; it may be shutting down", ((b"Retry-After", b"5"),))
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return _text(503, "the server has too many files and connections open", ((b"Retry-After", b"5"),))
    if isinstance(error, OSError) and error.errno in FULL:
        return _text(503, "the server's disk is full", ((b"Retry-After", b"5"),))
    if isinstance(error, OSError):
        return _text(503, f"the server's storage fails: {error.strerror}", ((b"Retry-After", b"5"),))
    if status is None:
        return FailureResponse(
            500, b"internal error; the server's log has the details\n", _TEXT, unexpected=True, own=True
        )
    return _text(status, str(error), _extra_headers(error, status))


_TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)


def _text(status: int, message: str, headers: Headers = ()) -> FailureResponse:
    return FailureResponse(status, f"{message}\n".encode("utf-8", "replace"), (*_TEXT, *headers), own=True)


def _relayed(error: errors.UpstreamRefused) -> FailureResponse:
    headers = tuple((name, value) for name, value in error.headers if name.lower() not in _NOT_RELAYED)
    if not error.body:
        headers = tuple((name, value) for name, value in headers if name.lower() not in _OF_THE_BODY)
        return _text(error.status, f"the upstream answered {_in_words(error.status)}", headers)
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers += _TEXT
    return FailureResponse(error.status, error.body, headers)


def _in_words(status: int) -> str:
    """Return ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _extra_headers(error: BaseException, status: int) -> Headers:
    for kind, headers in _EXTRA_HEADERS:
        if isinstance(error, kind):
            return headers(error)
    return ((b"Retry-After", b"5"),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()


def _allow(error: errors.MethodNotAllowed) -> Headers:
    return ((b"Allow", ", ".join(error.allowed).encode()),)


def _of_the_state(error: errors.PreconditionFailed | errors.RangeNotSatisfiable) -> Headers:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in error.headers.items())


def _challenge(error: errors.Unauthorized) -> Headers:
    return ((b"WWW-Authenticate", error.challenge.encode()),)


def _retry_after(error: errors.Busy | errors.TooOften | errors.UpstreamBusy) -> Headers:
    if error.retry_after is None:
        # An upstream that names no time leaves that to git's own http.retryAfter.
        return ()
    seconds = max(1, ceil(error.retry_after))
    return ((b"Retry-After", str(seconds).encode()),)


_EXTRA_HEADERS: tuple[tuple[type[Exception], Callable[..., Headers]], ...] = (
    (errors.MethodNotAllowed, _allow),
    (errors.Unauthorized, _challenge),
    (errors.PreconditionFailed, _of_the_state),
    (errors.RangeNotSatisfiable, _of_the_state),
    (errors.Busy, _retry_after),
    (errors.TooOften, _retry_after),
    (errors.UpstreamBusy, _retry_after),
    (errors.StorageUnavailable, lambda error: ((b"Retry-After", b"5"),)),
    (errors.CorruptObject, lambda error: ((b"Retry-After", b"1"),)),
    (errors.Conflict, lambda error: ((b"Retry-After", b"1"),)),
)


def write_head(request: StreamingRequest, answer: FailureResponse) -> bytes:
    """Begin to tell a client of a failure.

    :return: the body.
    """
    request.setResponseCode(answer.status)
    # A handler may have said things about a body that is not sent now.
    for stale in (b"ETag", b"Last-Modified", b"Content-Range", b"Accept-Ranges", b"Content-Encoding"):
        request.responseHeaders.removeHeader(stale)
    for name in {name for name, _ in answer.headers}:
        request.responseHeaders.removeHeader(name)
    for name, value in answer.headers:
        request.responseHeaders.addRawHeader(name, value)
    body = answer.body + _reference(request, answer)
    request.setHeader(b"Content-Length", str(len(body)).encode())
    return body


def _reference(request: StreamingRequest, answer: FailureResponse) -> bytes:
    """Return the line by which an operator finds in the log what git's user has seen, where that was this server's."""
    theirs = answer.status < 500 and answer.status not in (403, 429)
    if theirs or not answer.own or not request.outcome.route.startswith("git"):
        return b""
    return f"request {request.outcome.id}\n".encode()
