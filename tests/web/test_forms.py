"""What is read of a request that anybody may have sent: fields, cookies, and bodies of whatever kind."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import BadRequest, TooLarge
from cachew.plumbing.streams import BytesSource
from cachew.web import forms
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.settled import failure_of, value_of


def asking(body: bytes = b"", query: bytes = b"", **headers: Any) -> Any:
    """Return a request."""
    request = FakeRequest(Steps(slow=False), method=b"POST", body=BytesSource(body), **headers)
    request.raw_query = query
    return request


def said(body: bytes, limit: int = 4096) -> str:
    """Return what a body says of a level."""
    return value_of(Deferred.fromCoroutine(forms.said(asking(body), "level", limit=limit)))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", ""),
        (b"  debug\n", "debug"),
        (b"level=debug", "debug"),
        (b"level=de+bug%21&other=1", "de bug!"),
        (b"other=1", ""),
        (b"&", ""),
        (b'{"level": "debug", "other": 1}', "debug"),
        (b'{"level": 7}', ""),
        (b"{}", ""),
        (b'"debug"', "debug"),
        (b'["debug"]', ""),
        ("é".encode(), "é"),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_body_says_the_same_in_every_form(body: bytes, found: str) -> None:
    """Plain text, JSON and forms are told apart by what they look like; what says nothing of the thing is empty."""
    assert said(body) == found


@pytest.mark.parametrize("body", [b"{", b'"debug', b"[" * 4000, b'{"level": ' + b"9" * 4000, b"a=1&" * 30, b"a=\xc3"])
def test_a_body_that_is_malformed_is_refused(body: bytes) -> None:
    """Broken JSON however deep, a form of very many fields, and one that is not ASCII are the client's mistake."""
    assert isinstance(failure_of(Deferred.fromCoroutine(forms.said(asking(body), "level"))), BadRequest)


@pytest.mark.parametrize("read", [forms.said, forms.form_field, forms.form_fields])
def test_no_body_is_read_without_a_bound(read: Any) -> None:
    """One that is larger is refused, whoever reads it."""
    reading = Deferred.fromCoroutine(read(asking(b"level=" + b"x" * 100), "level", limit=100))
    assert isinstance(failure_of(reading), TooLarge)


def test_fields_of_one_body_are_read_together() -> None:
    """Each that was asked for is there, empty where the body has none; of several of a name it is the first."""
    fields = forms.form_fields(asking(b"a=1&b=&c=2&c=3&d"), "a", "b", "c", "d", "e")
    assert value_of(Deferred.fromCoroutine(fields)) == {"a": "1", "b": "", "c": "2", "d": "", "e": ""}
    assert value_of(Deferred.fromCoroutine(forms.form_field(asking(b"a=%C3%A9"), "a"))) == "é"


def test_fields_of_a_query() -> None:
    """They are decoded, empty where they are not there, and refused where the query is no text."""
    assert forms.query_field(asking(query=b"name=a%20b&x=1"), "name") == "a b"
    assert forms.query_field(asking(), "name") == ""
    with pytest.raises(BadRequest):
        forms.query_field(asking(query=b"name=\xff"), "name")


def test_a_header_that_is_sent_twice_says_nothing() -> None:
    """Of two values it is not certain which one others have looked at."""
    request = asking(X_Thing=" é ")
    assert forms.header(request, "X-Thing") == "é" and forms.header(request, "X-Other") == ""
    request.requestHeaders.addRawHeader("X-Thing", "another")
    assert forms.header(request, "X-Thing") == ""


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ("session=s", "s"),
        ("a=b; session=s=t; session=other", "s=t"),
        ("xsession=s; a=session", ""),
        ("session", ""),
        ("SESSION=s", ""),
        (";;=;", ""),
    ],
)
def test_a_cookie_among_others(cookies: str, found: str) -> None:
    """It is found by its whole name, the first one of that name, with all of its value."""
    assert forms.cookie(asking(Cookie=cookies), "session") == found
