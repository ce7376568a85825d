"""The failures that cross module borders, as exceptions with fields.

Status codes live in one table (:mod:`cachew.web.app`); here is only what went wrong. ``str()`` of each is fit for a
client's eyes: it says what failed, for which repository, and never holds a credential.
"""

from collections.abc import Mapping, Sequence

_MOMENT = 1.0
"""Seconds for which a busy upstream's answer counts when it names none, or fewer."""


class CachewError(Exception):
    """Any failure that cachew names itself."""


class BadRequest(CachewError):
    """The client sent something malformed."""


class BadPath(BadRequest):
    """A repository path breaks a rule of the path grammar."""


class NotFound(CachewError):
    """There is no such thing here."""


class MirrorGone(NotFound):
    """What was to be made of a mirror can't be, because the mirror went meanwhile; another time it may be there."""


class UnknownPath(NotFound):
    """The path is well formed but names no repository or operation that is served here."""


class Forbidden(CachewError):
    """The request is understood and refused."""


class Unauthorized(CachewError):
    """The request must say who it is from.

    :param challenge: what ``WWW-Authenticate`` answers.
    """

    def __init__(self, message: str, challenge: str = 'Bearer realm="cachew"') -> None:
        super().__init__(message)
        self.challenge = challenge


class MethodNotAllowed(CachewError):
    """The path exists, but not with this method.

    :param allowed: the methods that the path supports.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"method not allowed; allowed: {', '.join(allowed)}")
        self.allowed = tuple(allowed)


class PreconditionFailed(CachewError):
    """What a request depends on does not hold (RFC 9110, section 13).

    :param validators: the headers that tell in which state the thing is, none when it is not there.
    """

    def __init__(self, validators: Mapping[str, str]) -> None:
        super().__init__("what is here is not in the state that the request asks for")
        self.headers = dict(validators)


class RangeNotSatisfiable(CachewError):
    """The client has asked for a range that holds no byte of what there is.

    :param size: bytes of the whole.
    :param headers: the validators and ``Content-Range``.
    """

    def __init__(self, size: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the range holds none of the {size} bytes that there are")
        self.headers = dict(headers)


class NotCheckedOut(CachewError):
    """Git refuses to write the working tree of a commit, as it would in a clone (``.git`` in a tree, names too long).

    :param what: the repository and the commit.
    :param words: git's.
    """

    def __init__(self, what: str, words: str) -> None:
        super().__init__(f"git does not check {what} out: {words}")


class TooLarge(CachewError):
    """A body is over its limit.

    :param limit: the limit, in bytes.
    """

    def __init__(self, limit: int, what: str = "body") -> None:
        super().__init__(f"{what} is larger than the limit of {limit} bytes")
        self.limit = limit


class TooMany(CachewError):
    """A request asks for more things than one request may."""


class TooOften(CachewError):
    """A client asks for more than one client may in a while.

    :param retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnsupportedEncoding(CachewError):
    """A request body has a content encoding that is not understood."""


class UnsupportedMediaType(CachewError):
    """A request body is said to be something that is not asked for."""


class Busy(CachewError):
    """A queue is full.

    :param retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str = "the server is busy, try again later", retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamError(CachewError):
    """An upstream could not give what was asked of it.

    :param upstream: its URL, without credentials.
    :param reason: what happened, in words.
    :ivar said: what it told in git's own way, in an ``ERR`` packet; empty when it didn't.
    """

    said = ""

    def __init__(self, upstream: str, reason: str) -> None:
        Exception.__init__(self, f"upstream {upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason


class UpstreamUnreachable(UpstreamError):
    """No connection, a broken connection, or an answer that is not git's."""


class CredentialUnavailable(UpstreamUnreachable):
    """The server's own credential for an upstream can't be had at present; the upstream itself was not asked."""


class UpstreamNotGit(UpstreamUnreachable):
    """The upstream's answer is nothing that git says."""


class UpstreamRedirected(UpstreamUnreachable):
    """The upstream redirected to where it is not followed."""


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""


class CredentialTimeout(CredentialUnavailable, UpstreamTimeout):
    """Whoever knows that credential did not answer in time."""


class UpstreamBusy(UpstreamError):
    """The upstream answered 429 or 5xx.

    :param retry_after: seconds that it asked us to wait, None when it did not say.
    """

    def __init__(self, upstream: str, reason: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(upstream, reason)
        self.status = status
        self.retry_after = retry_after

    @property
    def lasts(self) -> float:
        """Seconds for which it is the answer to others too: who comes back when it said is not told the old one."""
        return max(self.retry_after or 0.0, _MOMENT)


class UpstreamRefused(UpstreamError):
    """The upstream refused this request (401, 403, 404, …); relayed to the client as it came.

    :param status: the upstream's status.
    :param headers: the headers to relay (``WWW-Authenticate``, ``Content-Type``, …).
    :param body: the start of its text.
    """

    def __init__(
        self,
        upstream: str,
        *,
        status: int,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(upstream, f"answered {status}")
        self.status = status
        self.headers = tuple(headers)
        self.body = body


class SpoolFailed(CachewError):
    """The writer of a spool failed before its end."""


_CAUSES = ("fatal:", "error:", "remote: fatal:", "remote: error:")


class ProcessFailed(CachewError):
    """A child process ended badly.

    :param command: its name for people, never its whole argv.
    :param code: its exit code, None when a signal ended it.
    :param stderr: the end of what it wrote to standard error.
    """

    def __init__(self, command: str, code: int | None, stderr: str = "") -> None:
        # What git quotes may hold what Unicode takes for the end of a line.
        lines = stderr.strip().split("\n")
        # Git names the cause first and gives up last.
        cause = next((line for line in lines if line.startswith(_CAUSES)), lines[-1])
        Exception.__init__(self, f"{command} failed ({'signal' if code is None else f'exit {code}'}): {cause}")
        self.command = command
        self.code = code
        self.stderr = stderr


class ProcessTimedOut(ProcessFailed):
    """A child process did not end in time and was ended."""


class FetchFailed(ProcessFailed, UpstreamError):
    """Git could not fetch from an upstream: it refused, broke off or sent what git does not take.

    :param upstream: its URL, without credentials.
    :param failure: how git ended.
    """

    def __init__(self, upstream: str, failure: ProcessFailed) -> None:
        ProcessFailed.__init__(self, failure.command, failure.code, failure.stderr)
        UpstreamError.__init__(self, upstream, str(failure))


class FetchTimedOut(FetchFailed, ProcessTimedOut, UpstreamTimeout):
    """Fetching from an upstream took too long."""


class StorageUnavailable(CachewError):
    """A cache's or a shared record's storage failed, is full or cannot be reached; trying later makes sense."""


class StorageFull(StorageUnavailable):
    """There is no room for another object; what is stored can still be read."""


class StorageRefused(StorageFull):
    """A storage that can be read takes, or removes, nothing for us: we have no right to, or our share of it is used."""


class NoRoom(StorageFull):
    """A client's upload does not fit, and what is stored is kept (507)."""


class CorruptObject(CachewError):
    """Stored content is not what was stored, or what came is not what was promised."""


class ClientGone(BadRequest):
    """The client went away before the end of its request."""


class BodyTimedOut(BadRequest):
    """The client sent its body too slowly, or stopped (408)."""


class Conflict(CachewError):
    """Somebody else changed a shared record first; reading it again and deciding anew makes sense."""


class Superseded(Conflict):
    """What was worked for is of an instance of a repository that has ended meanwhile."""
