"""Every failure has one status, and its text reaches the client."""

import errno

import pytest
from twisted.internet.defer import CancelledError
from werkzeug import exceptions

from cachew.plumbing import errors
from cachew.web.failures import answer_to


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequest("x"), 400),
        (errors.BadPath("x"), 400),
        (errors.BodyTimedOut("x"), 408),
        (errors.Unauthorized("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.UnknownPath("x"), 404),
        (errors.MethodNotAllowed(["GET"]), 405),
        (errors.PreconditionFailed({}), 412),
        (errors.TooLarge(5), 413),
        (errors.TooMany("x"), 413),
        (errors.TooOften("x", 3.2), 429),
        (errors.UnsupportedEncoding("x"), 415),
        (errors.RangeNotSatisfiable(5, {}), 416),
        (errors.NotCheckedOut("a commit", "invalid path"), 422),
        (errors.Busy(), 503),
        (errors.StorageUnavailable("x"), 503),
        (errors.UpstreamUnreachable("https://h/", "no route"), 502),
        (errors.UpstreamTimeout("https://h/", "10 s"), 504),
        (errors.UpstreamBusy("https://h/", "429", status=429), 429),
        (errors.UpstreamBusy("https://h/", "500", status=500), 503),
        (errors.SpoolFailed("x"), 502),
        (errors.ProcessTimedOut("git", None), 504),
        (errors.ProcessFailed("git", 1), 503),
        (errors.FetchFailed("https://h/", errors.ProcessFailed("git fetch", 128)), 502),
        (errors.FetchTimedOut("https://h/", errors.ProcessTimedOut("git fetch", None)), 504),
        (errors.CachewError("x"), 503),
        (CancelledError(), 503),
        (exceptions.NotFound(), 404),
        (exceptions.MethodNotAllowed(), 405),
        (OSError(errno.EMFILE, "Too many open files"), 503),
        (OSError(errno.ENOSPC, "No space left on device"), 503),
        (errors.NoRoom("x"), 507),
        (errors.StorageFull("x"), 503),
        (OSError(errno.EIO, "Input/output error"), 503),
        (KeyError("x"), 500),
    ],
)
def test_statuses(error: Exception, status: int) -> None:
    """Each kind of failure is told with its status, as plain text."""
    answer = answer_to(error)
    assert answer.status == status
    assert dict(answer.headers)[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert answer.body.endswith(b"\n")


def test_only_failures_nobody_foresaw_are_kept_from_the_client() -> None:
    """The text of an unforeseen exception stays in the log; that of a named one is told."""
    assert answer_to(KeyError("password")).unexpected
    assert b"password" not in answer_to(KeyError("password")).body
    named = answer_to(errors.UpstreamTimeout("https://h/", "no answer in 10 s"))
    assert (named.unexpected, named.body) == (False, b"upstream https://h/: no answer in 10 s\n")


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.MethodNotAllowed(["GET", "POST"]), (b"Allow", b"GET, POST")),
        (errors.Unauthorized("x"), (b"WWW-Authenticate", b'Bearer realm="cachew"')),
        (errors.Busy(retry_after=7), (b"Retry-After", b"7")),
        (errors.UpstreamBusy("u", "r", status=429, retry_after=0.2), (b"Retry-After", b"1")),
        (errors.PreconditionFailed({"ETag": '"x"'}), (b"ETag", b'"x"')),
        (errors.RangeNotSatisfiable(5, {"Content-Range": "bytes */5"}), (b"Content-Range", b"bytes */5")),
    ],
)
def test_extra_headers(error: Exception, header: tuple[bytes, bytes]) -> None:
    """Some failures say in a header what to do next."""
    assert header in answer_to(error).headers


@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_time_is_made_up_for_an_upstream(status: int) -> None:
    """An upstream that is busy and does not say until when is told as it is: git has a setting for that."""
    assert b"Retry-After" not in dict(answer_to(errors.UpstreamBusy("u", "r", status=status)).headers)


def test_an_upstreams_refusal_is_relayed() -> None:
    """A refusal keeps the upstream's status, challenge and text, but sets no cookie here."""
    headers = [(b"WWW-Authenticate", b"Basic"), (b"Set-Cookie", b"a=b"), (b"Content-Length", b"99")]
    answer = answer_to(errors.UpstreamRefused("u", status=401, headers=headers, body=b"who are you?"))
    assert (answer.status, answer.body) == (401, b"who are you?")
    assert answer.headers == ((b"WWW-Authenticate", b"Basic"), (b"Content-Type", b"text/plain; charset=utf-8"))


def test_a_refusal_without_words_gets_some() -> None:
    """Where the upstream's body was empty, or was left out because it is encoded, a sentence takes its place."""
    headers = [(b"WWW-Authenticate", b"Basic"), (b"Content-Type", b"text/html")]
    answer = answer_to(errors.UpstreamRefused("u", status=404, headers=headers))
    assert answer.body == b"the upstream answered 404 Not Found\n"
    assert set(answer.headers) == {
        (b"WWW-Authenticate", b"Basic"), (b"Content-Type", b"text/plain; charset=utf-8")
    }  # fmt: skip
