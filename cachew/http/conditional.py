"""Conditional and range requests: whether to answer with the whole, a part, or a refusal (pure).

RFC 9110, section 13 (preconditions, in the order of 13.2.2) and section 14 (one byte range; a request for several, or
a malformed one, gets the whole).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from twisted.web.http import datetimeToString, stringToDatetime

from cachew.plumbing.errors import PreconditionFailed, RangeNotSatisfiable

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_ONE_TAG = _ENTITY_TAG.pattern
_ENTITY_TAGS = re.compile(rf"[ \t,]*{_ONE_TAG}(?:[ \t]*,[ \t,]*{_ONE_TAG})*[ \t,]*")
_CLOCK = r"\d\d:\d\d:\d\d"
_DATE = re.compile(
    rf"[a-z]{{3}}, \d\d [a-z]{{3}} \d{{4}} {_CLOCK} GMT"
    rf"|[a-z]+, \d\d-[a-z]{{3}}-\d\d {_CLOCK} GMT"
    rf"|[a-z]{{3}} [a-z]{{3}} [ \d]\d {_CLOCK} \d{{4}}",
    re.IGNORECASE | re.ASCII,
)
_RANGE = re.compile(r"bytes=[ \t,]*(?:(\d+)-(\d*)|-(\d+))[ \t,]*", re.IGNORECASE | re.ASCII)
_DIGITS = 40
_READS = ("GET", "HEAD")
PRECONDITIONS = frozenset({"if-match", "if-none-match", "if-unmodified-since"})
"""The headers, in lower case, that can keep a request from changing something."""


@dataclass(frozen=True)
class Decision:
    """How to answer.

    :param status: 200, 206, 304, 412 or 416.
    :param start: the first byte to send.
    :param end: one past the last byte to send; equal to ``start`` when nothing is sent.
    :param headers: validators and range headers of the answer, without ``Content-Length``.
    :param size: bytes of the whole.
    """

    status: int
    start: int
    end: int
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0

    @property
    def length(self) -> int:
        """Bytes to send."""
        return self.end - self.start

    def check(self) -> None:
        """Do nothing when there is something to send, or nothing new.

        :raise PreconditionFailed: when the answer is 412.
        :raise RangeNotSatisfiable: when the answer is 416.
        """
        if self.status == 412:
            raise PreconditionFailed(self.headers)
        if self.status == 416:
            raise RangeNotSatisfiable(self.size, self.headers)


def evaluate(
    method: str, headers: Mapping[str, str], *, etag: str | None, modified: float | None, size: int
) -> Decision:
    """Decide how to answer a request for something that exists.

    :param method: ``GET`` or ``HEAD``; with any other only the preconditions matter.
    :param headers: the request's headers; the names' case is of no matter.
    :param etag: the strong entity tag, without quotes.
    :param modified: when it last changed, seconds since the epoch.
    :param size: bytes of the whole.
    """
    asked = {name.lower(): value for name, value in headers.items()}
    tag = None if etag is None else f'"{etag}"'
    second = None if modified is None else int(modified)
    validators = _validators(tag, second)
    refused = _precondition(method, asked, tag, second)
    if refused is not None:
        return Decision(refused, 0, 0, validators, size)
    accepting = {**validators, "Accept-Ranges": "bytes"}
    whole = Decision(200, 0, size, accepting, size)
    if method != "GET" or "range" not in asked or not _range_still_applies(asked, tag, second):
        return whole
    return _ranged(asked["range"], size, accepting) or whole


def _validators(tag: str | None, second: int | None) -> dict[str, str]:
    validators = {} if tag is None else {"ETag": tag}
    if second is not None:
        validators["Last-Modified"] = datetimeToString(second).decode("ascii")
    return validators


def _precondition(method: str, asked: Mapping[str, str], tag: str | None, second: int | None) -> int | None:
    """Evaluate the preconditions.

    :return: the status that ends the request, None when it goes on.
    """
    since = http_date(asked.get("if-unmodified-since"))
    if "if-match" in asked:
        if not _matches(asked["if-match"], tag, weak=False):
            return 412
    elif since is not None and second is not None and second > since:
        return 412
    reading = method in _READS
    since = http_date(asked.get("if-modified-since"))
    if "if-none-match" in asked:
        if _matches(asked["if-none-match"], tag, weak=True):
            return 304 if reading else 412
    elif reading and since is not None and second is not None and second <= since:
        return 304
    return None


def _matches(wanted: str, tag: str | None, *, weak: bool) -> bool:
    """Compare a list of entity tags, weakly or strongly (RFC 9110, 8.8.3.2).

    ``*`` matches whatever exists, a malformed list nothing.
    """
    if wanted.strip() == "*":
        return True
    if not _ENTITY_TAGS.fullmatch(wanted):
        return False
    return any((weak or not prefix) and f'"{opaque}"' == tag for prefix, opaque in _ENTITY_TAG.findall(wanted))


def _range_still_applies(asked: Mapping[str, str], tag: str | None, second: int | None) -> bool:
    """Evaluate ``If-Range``: an exact match of a validator (RFC 9110, 13.1.5).

    A date is taken for strong, because a client may send only one that it knows to be so: from an answer that was made
    a second later or more.
    """
    condition = asked.get("if-range", "").strip()
    if "if-range" not in asked:
        return True
    if condition.startswith(('"', "W/")):
        return condition == tag
    return second is not None and http_date(condition) == second


def _ranged(value: str, size: int, headers: Mapping[str, str]) -> Decision | None:
    """Apply a range.

    :return: None when it is to be ignored.
    """
    matched = _RANGE.fullmatch(value.strip())
    if not matched:
        return None
    first, last, suffix = matched.groups()
    if suffix is not None:
        wanted = _number(suffix)
        if wanted and not size:
            return None  # satisfiable, but no Content-Range can say so
        start, end = max(0, size - wanted), size
    else:
        start, end = _number(first), min(size, _number(last) + 1) if last else size
        if last and _number(last) < start:
            return None
    if start >= size:
        return Decision(416, 0, 0, {**headers, "Content-Range": f"bytes */{size}"}, size)
    return Decision(206, start, end, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}, size)


def _number(digits: str) -> int:
    """Return a number of any length, as large as matters."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def http_date(text: str | None) -> int | None:
    """Parse an HTTP date (RFC 9110, section 5.6.7).

    :return: seconds since the epoch; None when there is none or it is malformed.
    """
    if text is None or not _DATE.fullmatch(text.strip()):
        return None
    try:
        return int(stringToDatetime(text.strip().encode("ascii")))
    except (ValueError, KeyError, IndexError, OverflowError):
        return None
