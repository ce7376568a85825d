"""What went wrong between here and an upstream, in words."""

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from cachew.plumbing.errors import (
    TooLarge,
    UpstreamBusy,
    UpstreamNotGit,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from cachew.upstream.connectionfailures import explain, explain_answer, may_be_stale, reasons, was_cancelled
from cachew.upstream.listing import MalformedListing, NotGit, RemoteError
from cachew.upstream.tunnel import ProxyRefused

URL = "https://git.example/org/repo"


def wrapped(kind: Any, *inner: BaseException) -> Any:
    return kind([Failure(one) for one in inner])


def test_what_is_within_twisteds_wrappers_is_found() -> None:
    """However deep; anything else is itself."""
    lost = error.ConnectionLost()
    assert reasons(wrapped(ResponseNeverReceived, wrapped(ResponseFailed, lost), OSError()))[0] is lost
    assert reasons(lost) == [lost]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (error.DNSLookupError("x"), "its host name does not resolve"),
        (error.ConnectionRefusedError("x"), "refused the connection"),
        (wrapped(ResponseNeverReceived, error.ConnectionLost()), "closed the connection without an answer"),
        (ProxyRefused("answered 407 to CONNECT"), "its proxy answered 407 to CONNECT"),
        (KeyError("secret"), "the exchange failed (KeyError)"),
    ],
)
def test_each_is_told_in_words_of_its_own(failure: Exception, words: str) -> None:
    """With the upstream's address; of what nobody knows, no more than its kind."""
    explained = explain(URL, failure)
    assert isinstance(explained, UpstreamUnreachable) and words in str(explained) and URL in str(explained)
    assert "secret" not in str(explained)


def test_a_connection_that_takes_too_long_is_a_time_out() -> None:
    """So that it is answered as one."""
    assert isinstance(explain(URL, error.TimeoutError()), UpstreamTimeout)


def test_who_gave_up_has_met_no_failure_of_the_upstreams() -> None:
    """Nobody is told anything of it, and it isn't tried again."""
    for failure in (CancelledError(), wrapped(ResponseNeverReceived, error.ConnectingCancelledError(None))):
        assert was_cancelled(failure) and isinstance(explain(URL, failure), CancelledError)
        assert not may_be_stale(failure)


def test_a_failure_of_the_requests_own_body_stays_what_it_is() -> None:
    """It is no fault of the upstream's; nor is what was named already."""
    own = OSError("disk")
    assert explain(URL, wrapped(RequestGenerationFailed, own)) is own
    named = TooLarge(5)
    assert explain(URL, named) is named


@pytest.mark.parametrize(
    ("failure", "stale"),
    [
        (wrapped(RequestTransmissionFailed, error.ConnectionLost()), True),
        (wrapped(ResponseNeverReceived, error.ConnectionDone()), True),
        (wrapped(ResponseFailed, error.ConnectionLost()), False),
        (error.ConnectionRefusedError(), False),
    ],
)
def test_only_where_no_answer_had_begun_trying_again_makes_sense(failure: Exception, stale: bool) -> None:
    """A kept connection may have been closed just then."""
    assert may_be_stale(failure) is stale


@pytest.mark.parametrize(
    ("message", "kind", "status"),
    [
        ("Repository not found.", UpstreamRefused, 404),
        ("access denied or repository not exported: /x", UpstreamRefused, 404),
        ("Permission denied", UpstreamRefused, 403),
        ("API rate limit exceeded", UpstreamBusy, 429),
        ("upload-pack: internal trouble", UpstreamUnreachable, None),
    ],
)
def test_an_upstreams_own_words_are_taken_for_what_they_say(message: str, kind: type, status: int | None) -> None:
    """And told on as they were."""
    explained = explain_answer(URL, RemoteError(message))
    assert type(explained) is kind and getattr(explained, "said", "") == message
    assert getattr(explained, "status", None) == status


def test_what_is_not_gits_is_told_from_what_is_broken() -> None:
    """The one may be another spelling's, the other is the upstream's trouble."""
    assert type(explain_answer(URL, NotGit("a page"))) is UpstreamNotGit
    assert type(explain_answer(URL, MalformedListing("it broke off"))) is UpstreamUnreachable
