"""Stored objects on their way out: asked for again where they are damaged, and closed whatever comes between."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.interface import ObjectInfo
from cachew.http.conditional import Decision
from cachew.plumbing.errors import (
    BadRequest,
    CorruptObject,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    Superseded,
    UnknownPath,
)
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import Source
from cachew.snapshots.store import ARCHIVE_TYPE, COMMIT_HEADER
from cachew.web.access.guard import Right
from cachew.web.storedanswers import StoreRedirects, answer_as_decided, answer_one_of, answer_with, query_of, serve
from tests.fakes.disturbance import FakeRequest, Sources, Steps
from tests.fakes.gitserving import IDENTITY
from tests.fakes.instances import right
from tests.fakes.settled import failure_of, value_of

DATA = b"0123456789"
INFO = ObjectInfo(
    namespace="n",
    key="k" * 64,
    size=len(DATA),
    etag="the-tag",
    headers={COMMIT_HEADER: "a" * 40, "X-Own": "not told"},
    modified=1_700_000_000.0,
    expires=None,
)
ADDRESS = "https://store.example/x?signature=1"
METRICS = Metrics()


class Stored:
    """An opened object that knows what was not closed."""

    info = INFO

    def __init__(self, steps: Steps) -> None:
        self.sources = Sources(steps)
        self.closed = False

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of it."""
        return self.sources.of(DATA[offset : offset + (len(DATA) if length is None else length)])

    def close(self) -> None:
        """Close it."""
        self.closed = True


class Store:
    """Gives addresses when a test lets it.

    :param address: what it gives.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self.gate: Deferred[None] | None = None

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Give one."""
        if self.gate is not None:
            await self.gate
        return self._address


def nothing() -> None:
    """Let the client have it."""


class Serving:
    """A client that asks for the object.

    :param address: where it lies in the store, None for nowhere.
    :param headers: what it asks with.
    """

    def __init__(self, address: str | None = None, method: bytes = b"GET", **headers: str) -> None:
        self.steps = Steps(slow=False)
        self.entry, self.store = Stored(self.steps), Store(address)
        self.request: Any = FakeRequest(self.steps, method=method, **headers)
        self.redirects = StoreRedirects(presigned=self.store.presigned, metrics=METRICS)

    def serve(self, still: Callable[[], object] = nothing) -> Deferred[None]:
        """Serve it."""
        serving = Deferred.fromCoroutine(
            serve(
                self.request,
                cast(Any, self.entry),
                {"X-More": "more"},
                redirects=self.redirects,
                what="bundle",
                still=still,
            )
        )
        while self.steps.go_on():
            pass
        return serving

    @property
    def body(self) -> bytes:
        """What was sent."""
        return b"".join(self.request.written)

    def header(self, name: str) -> str | None:
        """Return a header of the answer."""
        values = self.request.responseHeaders.getRawHeaders(name)
        return None if values is None else values[0]

    def left(self) -> list[str]:
        """Name what is open."""
        return [*self.entry.sources.left(), *([] if self.entry.closed else ["the entry"])]


def test_an_object_is_described_by_what_is_stored_with_it() -> None:
    """Its type, its commit and what the route adds are told, and nothing else that was stored."""
    serving = Serving()
    value_of(serving.serve())
    assert (serving.request.code, serving.body, serving.left()) == (200, DATA, [])
    assert (serving.header("Content-Type"), serving.header("X-More")) == (ARCHIVE_TYPE, "more")
    assert (serving.header(COMMIT_HEADER), serving.header("X-Own")) == ("a" * 40, None)
    assert (serving.header("ETag"), serving.header("Content-Length")) == ('"the-tag"', "10")


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [({"Range": "bytes=2-4"}, 206, b"234"), ({"If_None_Match": '"the-tag"'}, 304, b"")],
)
def test_a_part_of_it_or_nothing(headers: dict[str, str], status: int, body: bytes) -> None:
    """What is not sent is not opened either; what says that nothing is new has no type."""
    serving = Serving(**cast(Any, headers))
    value_of(serving.serve())
    assert (serving.request.code, serving.body, serving.left()) == (status, body, [])
    assert (serving.header("Content-Type") is None) is (status == 304)
    assert bool(serving.entry.sources.opened) is (status == 206)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [({"Range": "bytes=10-"}, RangeNotSatisfiable), ({"If_Match": '"other"'}, PreconditionFailed)],
)
def test_a_refusal_closes_what_was_opened(headers: dict[str, str], kind: type[Exception]) -> None:
    """The failure is raised for whoever tells all failures."""
    serving = Serving(**cast(Any, headers))
    assert isinstance(failure_of(serving.serve()), kind)
    assert serving.left() == [] and not serving.request.startedWriting


def test_head_is_told_the_same_without_a_body() -> None:
    """The length is the object's; what was opened for it is closed."""
    serving = Serving(ADDRESS, method=b"HEAD")
    value_of(serving.serve())
    assert (serving.body, serving.header("Content-Length"), serving.left()) == (b"", "10", [])


def test_a_client_that_leaves_while_the_store_is_asked_leaves_nothing() -> None:
    """The object that was opened for it is closed."""
    serving = Serving(ADDRESS)
    serving.store.gate = Deferred()
    asked = serving.serve()
    assert serving.left() == ["the entry"]
    asked.cancel()
    assert isinstance(failure_of(asked), CancelledError) and serving.left() == []


@pytest.mark.parametrize("address", [ADDRESS, None])
def test_what_the_client_may_not_have_any_more_is_not_sent(address: str | None) -> None:
    """Whether it may is looked at after the store was asked; neither the bytes nor their address go out."""
    serving = Serving(address)
    serving.store.gate = Deferred()
    ended = False

    def still() -> None:
        if ended:
            raise Superseded("it has become another repository")

    asked = serving.serve(still)
    ended = True
    serving.store.gate.callback(None)
    assert isinstance(failure_of(asked), Superseded)
    assert (serving.left(), serving.header("Location"), serving.request.startedWriting) == ([], None, False)


def test_an_address_is_sent_without_what_would_describe_a_body() -> None:
    """There is no type and no range at 307, and nobody may keep the address."""
    serving = Serving(ADDRESS, Range="bytes=2-4")
    value_of(serving.serve())
    assert (serving.request.code, serving.header("Location"), serving.body) == (307, ADDRESS, b"")
    assert (serving.header("Content-Type"), serving.header("Content-Range")) == (None, None)
    assert (serving.header("Cache-Control"), serving.header("X-More")) == ("private, no-store", "more")
    assert (serving.request.outcome.source, serving.left()) == ("redirect", [])


def test_what_is_only_described_needs_no_entry() -> None:
    """Whoever knows an object and has not opened it can still say what it is like."""
    serving = Serving(method=b"HEAD")
    value_of(Deferred.fromCoroutine(answer_with(serving.request, INFO, None, {})))
    assert serving.header("ETag") == '"the-tag"' and serving.body == b""


def test_a_header_that_can_not_be_sent_closes_the_body() -> None:
    """Whoever is handed a source owns it from then on, also when what comes first fails."""
    serving = Serving()
    source = serving.entry.source()
    headers = {"X-Thing": cast(str, None)}
    answering = answer_as_decided(serving.request, Decision(200, 0, 10, {}, 10), source, headers)
    assert isinstance(failure_of(Deferred.fromCoroutine(answering)), AttributeError)
    assert serving.entry.sources.left() == []


class Attempts:
    """An operation that fails so many times.

    :param failures: with what, one after the other.
    :param late: whether the answer has begun by then.
    """

    def __init__(self, failures: Sequence[Exception], *, late: bool = False) -> None:
        self._failures, self._late = list(failures), late
        self.request: Any = FakeRequest(Steps(slow=False))
        self.request.setHeader(b"X-Before", b"kept")
        self.sources: list[str] = []

    async def __call__(self, request: Any, right: Right) -> None:
        """Answer, or fail."""
        self.sources.append(request.outcome.source)
        request.outcome.source = "redirect"
        if self._failures:
            request.setHeader(b"X-Damaged", b"yes")
            request.setResponseCode(206)
            request.startedWriting = self._late
            raise self._failures.pop(0)
        request.write(b"answered")

    def ask(self, operation: str = "snapshot") -> Deferred[None]:
        """Ask."""
        answering = answer_one_of({"snapshot": self}, operation, self.request, right(IDENTITY))
        return Deferred.fromCoroutine(answering)


CORRUPT, ANOTHER = CorruptObject("it is damaged"), Superseded("it is another one")


@pytest.mark.parametrize("failures", [[], [CORRUPT], [ANOTHER, CORRUPT], [CORRUPT, CORRUPT, CORRUPT]])
def test_what_is_damaged_is_asked_for_again(failures: list[Exception]) -> None:
    """Each attempt begins with the headers and the status of before; the client sees the one that succeeds."""
    attempts = Attempts(failures)
    value_of(attempts.ask())
    request = attempts.request
    assert (request.code, request.written, len(attempts.sources)) == (200, [b"answered"], len(failures) + 1)
    assert attempts.sources[:3] == ["cache"] * len(attempts.sources[:3])
    assert request.responseHeaders.hasHeader("X-Before") and not request.responseHeaders.hasHeader("X-Damaged")


@pytest.mark.parametrize(
    ("failures", "late", "asked"),
    [([CORRUPT] * 5, False, 4), ([CORRUPT], True, 1), ([NotFound("none")], False, 1), ([OSError(5, "bad")], False, 1)],
)
def test_what_stays_so_is_told(failures: list[Exception], late: bool, asked: int) -> None:
    """After a few attempts, or at once when the answer has begun or another one would fail too."""
    attempts = Attempts(failures, late=late)
    failed = failure_of(attempts.ask())
    assert type(failed) is type(failures[0]) and len(attempts.sources) == asked


def test_what_there_is_not() -> None:
    """Another operation, or another method than reading ones, reaches nobody."""
    attempts = Attempts([])
    assert isinstance(failure_of(attempts.ask("other")), UnknownPath)
    attempts.request.method = b"POST"
    assert isinstance(failure_of(attempts.ask()), MethodNotAllowed)
    assert attempts.sources == []


def asked_with(**args: list[bytes]) -> Any:
    """Return a request with a query."""
    request = FakeRequest(Steps(slow=False))
    request.args = {name.encode(): values for name, values in args.items()}
    return request


def test_a_query_is_read_as_text() -> None:
    """What git names by bytes keeps them; what nobody looks at may be of any kind, and be said twice."""
    request = asked_with(ref=[b"refs/heads/\xff"], base=[b"a", b"a"], other=[b"\xff", b"b"])
    assert query_of(request) == {"ref": "refs/heads/\udcff", "base": "a", "other": "b"}


@pytest.mark.parametrize("args", [{"ref": [b"a", b"b"]}, {"base": [b"\xff"]}, {"filter": [b"a", b""]}])
def test_a_query_that_may_be_read_in_two_ways_is_refused(args: dict[str, list[bytes]]) -> None:
    """So is what is no text where text is needed."""
    with pytest.raises(BadRequest):
        query_of(asked_with(**args))


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({}, True),
        ({"X_Token": "secret"}, False),
        ({"x_token": "secret", "X_Cachew_Redirect": "4"}, True),
        ({"Cookie": "a=b", "X_Cachew_Redirect": "x"}, False),
    ],
)
def test_who_shows_what_some_host_takes_for_a_credential_stays(headers: dict[str, str], sent: bool) -> None:
    """It would reach the store with him, unless he says that he knows better."""
    serving = Serving(ADDRESS, **cast(Any, headers))
    redirects = StoreRedirects(
        presigned=serving.store.presigned, metrics=METRICS, are_credentials=[lambda name: name == "x-token"]
    )
    address = redirects.address(serving.request, INFO, Decision(200, 0, 10, {}, 10))
    assert value_of(Deferred.fromCoroutine(address)) == (ADDRESS if sent else None)


def test_without_a_store_nobody_is_sent_anywhere() -> None:
    """Neither for an object nor in a list."""
    redirects = StoreRedirects(presigned=None, metrics=METRICS)
    address = redirects.address(Serving().request, INFO, Decision(200, 0, 10, {}, 10))
    assert value_of(Deferred.fromCoroutine(address)) is None
    assert value_of(Deferred.fromCoroutine(redirects.listed(INFO))) is None
