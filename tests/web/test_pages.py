"""How numbers, times and names are shown to people."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers

from cachew.web.pages import Pages, age, ago, counted, duration, moment, percent, size
from cachew.web.unrestricted import Unrestricted
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.settled import result_of, value_of


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (119.6, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_an_age(seconds: float, shown: str) -> None:
    """In one unit; a clock that was put back makes nothing younger than now."""
    assert age(1000, 1000 + seconds) == shown


def test_how_long_ago() -> None:
    """Left to the page where that follows it; never is no time."""
    assert ago(None, 5.0) == "never"
    assert ago(1.6, None) == '<time data-at="2"></time>'
    assert ago(0.0, 60.0) == '<time data-at="0">60 s</time>'
    assert moment(0) == "1970-01-01 00:00 UTC"


@pytest.mark.parametrize(
    ("number", "what", "shown"),
    [(0, "clone", "no clones"), (1, "clone", "1 clone"), (1234, "clone", "1,234 clones"), (2, "reply", "2 replies")],
)
def test_how_many(number: int, what: str, shown: str) -> None:
    """In words."""
    assert counted(number, what) == shown


@pytest.mark.parametrize(
    ("part", "shown"), [(None, "—"), (0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.001, "0.1 %"), (0.999, "99.9 %")]
)
def test_a_part_of_the_whole(part: float | None, shown: str) -> None:
    """Nearly nothing is not nothing, and nearly all is not all."""
    assert percent(part) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "—"), (0, "0 s"), (0.004, "4 ms"), (1.24, "1.2 s"), (9.96, "10.0 s"), (75.2, "75 s")]
)
def test_a_duration(seconds: float | None, shown: str) -> None:
    """As exact as it is of use."""
    assert duration(seconds) == shown


def test_a_size() -> None:
    """Where it is known."""
    assert size(None) == "—"
    assert size(1_000_000) == "1.0 MB"


def test_a_page_lets_nothing_run_that_is_not_its_own() -> None:
    """Its word is another each time, and what it shows is no part of the page."""
    words = iter(["first", "second"])
    clock = FakeClock()
    pages = Pages(version="1.0", reactor=clock, nonce=lambda: next(words))
    request = cast(Any, FakeRequest(Steps(slow=False)))
    for word in ("first", "second"):
        page = value_of(Deferred.fromCoroutine(pages.render(request, "login.html", None, message="<b>\udcff & 'x'")))
        clock.advance(0)
        (policy,) = request.responseHeaders.getRawHeaders("Content-Security-Policy")
        assert f"script-src 'nonce-{word}'" in policy
        assert "default-src 'none'" in policy
        assert b"<b>" not in page
        assert rb"&lt;b&gt;\udcff &amp;" in page
    assert request.responseHeaders.getRawHeaders("Cache-Control") == ["no-store"]


def test_others_have_their_turn_between_two_pages() -> None:
    """However many are asked for at once; who goes away meanwhile takes nobody's turn."""
    clock = FakeClock()
    pages = Pages(version="1.0", reactor=clock)
    asked = [
        Deferred.fromCoroutine(pages.render(cast(Any, FakeRequest(Steps(slow=False))), "welcome.html", None))
        for _ in range(4)
    ]
    assert [one.called for one in asked] == [True, False, False, False]
    asked[1].addErrback(lambda failure: failure.trap(CancelledError) and None).cancel()
    readiness = list[bool]()
    clock.callLater(0, lambda: readiness.extend(one.called for one in asked))
    clock.advance(0)
    assert readiness == [True, True, True, False] and value_of(asked[3])


def test_where_the_operator_has_laid_down_nothing() -> None:
    """Everybody is let in, as who he seems to be."""
    access = Unrestricted()
    request = cast(Any, SimpleNamespace(remote_address="192.0.2.1", isSecure=lambda: True, requestHeaders=Headers()))
    access.admit(request)
    result_of(access.decide(request))
    assert access.client_of(request) == "192.0.2.1"
    assert access.is_https(request)
