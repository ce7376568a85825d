"""Preconditions and ranges are judged as RFC 9110 says."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.http.conditional import Decision, evaluate

MODIFIED = 784111777.6
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


def ask(headers: Mapping[str, str], method: str = "GET", size: int = 100) -> Decision:
    """Evaluate a request for a thing with the tag ``"one"``."""
    return evaluate(method, headers, etag="one", modified=MODIFIED, size=size)


def test_whole() -> None:
    """A plain GET gets the whole with its validators."""
    decision = ask({})
    assert (decision.status, decision.start, decision.end, decision.length) == (200, 0, 100, 100)
    assert decision.headers == {"ETag": '"one"', "Last-Modified": DATE, "Accept-Ranges": "bytes"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"one"'}, 200),
        ({"If-Match": '"two", "one"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"two"'}, 412),
        ({"If-Match": 'W/"one"'}, 412),
        ({"If-Match": "one"}, 412),
        ({"If-Match": '"one"', "If-Unmodified-Since": EARLIER}, 200),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": DATE}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-None-Match": '"one"'}, 304),
        ({"If-None-Match": 'W/"one"'}, 304),
        ({"If-None-Match": '"two" , W/"one"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"two"'}, 200),
        ({"If-None-Match": '"two"', "If-Modified-Since": LATER}, 200),
        ({"If-Modified-Since": DATE}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ({"If-Modified-Since": "Sun, 99 Foo 1994 08:49:37 GMT"}, 200),
        ({"If-Match": '"one"', "If-None-Match": '"one"'}, 304),
    ],
)
def test_preconditions(headers: dict[str, str], status: int) -> None:
    """Preconditions are judged in the order of section 13.2.2, with the comparison that each asks for."""
    assert ask(headers).status == status
    assert ask(headers, "HEAD").status == status


def test_matching_none_on_write() -> None:
    """With a method that writes, a match of If-None-Match is a failed precondition, and dates don't matter."""
    assert ask({"If-None-Match": "*"}, "POST").status == 412
    assert ask({"If-Modified-Since": LATER}, "POST").status == 200


def test_not_modified_tells_validators_only() -> None:
    """A 304 carries the validators and nothing about a body."""
    assert ask({"If-None-Match": "*"}) == Decision(304, 0, 0, {"ETag": '"one"', "Last-Modified": DATE}, 100)


@pytest.mark.parametrize(
    ("value", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("Bytes=10-", 206, 10, 100),
        ("bytes=90-1000", 206, 90, 100),
        ("bytes=-1", 206, 99, 100),
        ("bytes=-1000", 206, 0, 100),
        ("bytes= 5-6 ", 206, 5, 7),
        ("bytes=0-" + "9" * 9000, 206, 0, 100),
        ("bytes=100-", 416, 0, 0),
        ("bytes=" + "9" * 9000 + "-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-4", 200, 0, 100),
        ("bytes=0-1,3-4", 200, 0, 100),
        ("bytes=", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("bytes=a-b", 200, 0, 100),
        ("bytes=\u0661-\u0662", 200, 0, 100),
        ("lines=0-1", 200, 0, 100),
        ("bytes 0-1", 200, 0, 100),
    ],
)
def test_ranges(value: str, status: int, start: int, end: int) -> None:
    """One range is served, one beyond the end is refused with the size, anything else gets the whole."""
    decision = ask({"Range": value})
    assert (decision.status, decision.start, decision.end) == (status, start, end)
    expected = {206: f"bytes {start}-{end - 1}/100", 416: "bytes */100", 200: None}[status]
    assert decision.headers.get("Content-Range") == expected


@pytest.mark.parametrize(("value", "status"), [("bytes=0-", 416), ("bytes=-5", 200), ("bytes=-0", 416)])
def test_ranges_of_nothing(value: str, status: int) -> None:
    """Of an empty thing a suffix is the whole, and any other range lies beyond the end."""
    decision = ask({"Range": value}, size=0)
    assert (decision.status, decision.length) == (status, 0)
    assert (decision.headers.get("Content-Range") == "bytes */0") == (status == 416)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"one"', 206),
        ('"two"', 200),
        ('W/"one"', 200),
        (DATE, 206),
        (EARLIER, 200),
        (LATER, 200),
        ("*", 200),
        ("", 200),
        ("one", 200),
    ],
)
def test_if_range(condition: str, status: int) -> None:
    """A range is applied only to the very representation that If-Range names."""
    assert ask({"Range": "bytes=0-1", "If-Range": condition}).status == status


def test_stale_range_beyond_end() -> None:
    """A failed If-Range gets the whole, though the range would be beyond its end."""
    assert ask({"Range": "bytes=500-", "If-Range": '"two"'}).status == 200


def test_ranges_belong_to_get() -> None:
    """HEAD ignores a range."""
    assert ask({"Range": "bytes=0-1"}, "HEAD").status == 200


def test_preconditions_come_before_ranges() -> None:
    """A failed precondition wins over a range."""
    assert ask({"Range": "bytes=0-1", "If-Match": '"two"'}).status == 412


def test_without_validators() -> None:
    """A thing without validators can't match any, and its dates are ignored."""

    def status(headers: dict[str, str]) -> int:
        return evaluate("GET", headers, etag=None, modified=None, size=10).status

    assert status({"If-Match": '"one"'}) == 412
    assert status({"If-None-Match": '"one"', "If-Modified-Since": LATER}) == 200
    assert status({"If-Unmodified-Since": EARLIER}) == 200
    assert status({"Range": "bytes=0-1", "If-Range": DATE}) == 200


@settings(max_examples=300, deadline=None)
@given(first=st.integers(0, 2**70), last=st.none() | st.integers(0, 2**70), size=st.integers(0, 2**65))
def test_range_is_what_was_asked(first: int, last: int | None, size: int) -> None:
    """Every well-formed range yields exactly the bytes that exist of it, or a refusal, or the whole when reversed."""
    decision = ask({"Range": f"bytes={first}-{'' if last is None else last}"}, size=size)
    if last is not None and last < first:
        assert decision.status == 200
    elif first >= size:
        assert decision.status == 416
    else:
        assert decision.status == 206
        assert (decision.start, decision.end) == (first, size if last is None else min(last + 1, size))


HEADER_NAMES = ["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]
METHODS = st.sampled_from(["GET", "HEAD", "POST"])
VALUES = st.text() | st.sampled_from([DATE, EARLIER, '"one"', 'W/"one"', "*", "bytes=1-2", "bytes=-3", "Sun, x GMT"])


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(HEADER_NAMES), VALUES), METHODS, st.integers(0, 9))
def test_anything_gets_an_answer(headers: dict[str, str], method: str, size: int) -> None:
    """Whatever a client sends, the answer is consistent and within the thing."""
    decision = ask(headers, method, size)
    assert 0 <= decision.start <= decision.end <= size
    assert decision.status in (200, 206, 304, 412, 416)
    assert (decision.length == size) if decision.status == 200 else True
    if decision.status == 206:
        told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", decision.headers["Content-Range"])
        assert told is not None
        assert [int(part) for part in told.groups()] == [decision.start, decision.end - 1, size]


@pytest.mark.parametrize(
    "date",
    [f"{DATE}x", f"{DATE}, {DATE}", DATE.replace("GMT", "UTC"), DATE.replace("06", "6"), "784111777", ""],
)
def test_what_is_no_date_is_no_condition(date: str) -> None:
    """A date in no form of RFC 9110, 5.6.7, is ignored; it lets no part of another version be sent."""
    assert ask({"If-Modified-Since": date}).status == 200
    assert ask({"If-Unmodified-Since": date.replace("1994", "1993")}).status == 200
    assert ask({"Range": "bytes=0-1", "If-Range": date}).status == 200


@pytest.mark.parametrize("date", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_all_forms_of_a_date(date: str) -> None:
    """The present form of a date and the two obsolete ones are understood."""
    assert ask({"If-Modified-Since": date}).status == 304
    assert ask({"Range": "bytes=0-1", "If-Range": date}).status == 206


@pytest.mark.parametrize("tags", ['x"one"', '"one"x', '"two" "one"', 'W/ "one"', '"one', '"two", one, "one'])
def test_what_is_no_list_of_tags_matches_nothing(tags: str) -> None:
    """A malformed list of entity tags matches no version."""
    assert ask({"If-None-Match": tags}).status == 200
    assert ask({"If-Match": tags}).status == 412


@pytest.mark.parametrize("tags", ['"two" , "one"', ', "one",,', '"one"\t,W/"two"', '"a,b", W/"x", "one"'])
def test_lists_of_tags(tags: str) -> None:
    """A list may have blanks and empty elements, and tags may have commas."""
    assert ask({"If-None-Match": tags}).status == 304
    assert ask({"If-Match": tags}).status == 200
