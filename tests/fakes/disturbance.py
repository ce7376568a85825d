"""Runs a piece of work again and again, and disturbs it at another of its awaits each time.

Everything that the work waits for asks :class:`Steps` first. One run without a disturbance counts the steps; then each
of them is, in a run of its own, where the client leaves and where each kind of exception is raised. After every run
nothing may be left.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from cachew.http.incoming import Body, HeldBody
from cachew.http.requests import Fields, Outcome
from cachew.plumbing.errors import ProcessFailed, SpoolFailed, StorageUnavailable, UpstreamTimeout
from cachew.plumbing.streams import read_all

FAILURES: tuple[Exception, ...] = (
    CancelledError(),
    OSError(5, "Input/output error"),
    ValueError("nobody foresaw this"),
    ProcessFailed("git upload-pack", 128, "fatal: it died"),
    SpoolFailed("the spool has ended"),
    StorageUnavailable("the store fails"),
    UpstreamTimeout("https://git.example/org/repo", "did not answer"),
)
"""One of every family of what may be raised."""


@dataclass(frozen=True)
class Disturbance:
    """What happens at a step.

    :param step: its number.
    :param raises: what is raised there; None means that clients leave.
    :param leave: how many of them, the first ones.
    """

    step: int
    raises: Exception | None = None
    leave: int = 1


class Steps:
    """Counts what is awaited, and disturbs one of them.

    :param disturbance: where and how.
    :param slow: whether each step takes a turn of :meth:`go_on`, as everything real does, or none.
    """

    def __init__(self, disturbance: Disturbance | None = None, *, slow: bool) -> None:
        self._disturbance, self._slow = disturbance, slow
        self.names: list[str] = []
        self._waiting: list[Deferred[None]] = []
        self.leave: Callable[[int], object] = lambda count: None

    async def reach(self, name: str, *, slow: bool = False) -> None:
        """Pass a step.

        :param slow: whether it takes a turn in any case.
        """
        slow = slow or self._slow
        number, disturbed = len(self.names), self._disturbance
        self.names.append(name)
        here = disturbed is not None and disturbed.step == number
        if here and disturbed is not None and disturbed.raises is not None:
            await self._pause(slow)
            raise disturbed.raises
        if here and disturbed is not None:
            stuck: Deferred[None] = Deferred()
            self._waiting.append(stuck)
            self.leave(disturbed.leave)
            await stuck
        await self._pause(slow)

    async def _pause(self, slow: bool) -> None:
        if slow:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn

    def go_on(self) -> bool:
        """Let those who wait go on; False when nobody does."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.called:
                turn.callback(None)
        return bool(waiting)


class Bench(Protocol):
    """Something that is disturbed."""

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        """Return what clients wait for; the first is the one who leaves."""

    def settle(self) -> None:
        """Let time pass until what goes on behind must have ended."""

    def left(self) -> list[str]:
        """Name what is left, in words."""


def disturbances(make: Callable[[Steps], Bench], *, slow: bool) -> Iterator[tuple[Disturbance | None, list[str]]]:
    """Run everything with each disturbance, and tell what each has left.

    :param make: makes a fresh bench whose awaits pass the steps.
    """
    calm = Steps(slow=slow)
    yield None, run(make, calm)
    for number in range(len(calm.names)):
        ways = [Disturbance(number, raises) for raises in FAILURES]
        for disturbance in (*ways, Disturbance(number, leave=1), Disturbance(number, leave=2)):
            yield disturbance, run(make, Steps(disturbance, slow=slow))


def run(make: Callable[[Steps], Bench], steps: Steps) -> list[str]:
    """Run a bench to its end.

    :return: what it has left.
    """
    bench = make(steps)
    clients: list[Deferred[Any]] = []
    gone = 0

    def leave(count: int) -> None:
        nonlocal gone
        gone = count
        for client in clients[:count]:
            client.cancel()

    steps.leave = leave
    for work in bench.work():
        clients.append(Deferred.fromCoroutine(work))
        if len(clients) <= gone:
            clients[-1].cancel()
    while steps.go_on():
        pass
    ends: list[object] = []
    for client in clients:
        client.addBoth(ends.append)
    bench.settle()
    while steps.go_on():
        pass
    waiting = [f"client {number} waits for ever" for number in range(len(clients) - len(ends))]
    return [*waiting, *bench.left()]


def nothing_left(make: Callable[[Steps], Bench], *, slow: bool) -> None:
    """Assert that no disturbance leaves anything.

    :raise AssertionError: naming the disturbances that do.
    """
    found = [f"{disturbance}: {left}" for disturbance, left in disturbances(make, slow=slow) if left]
    assert not found, "\n".join(found)


class Sources:
    """Makes sources and knows which of them nobody has closed.

    :param steps: passed by each read.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.opened: list[SteppedSource] = []

    def of(self, *pieces: bytes, name: str = "source") -> "SteppedSource":
        """Return a source of so many pieces."""
        source = SteppedSource(self._steps, list(pieces), name)
        self.opened.append(source)
        return source

    def left(self) -> list[str]:
        """Name those that are open."""
        return [f"open {source.name}" for source in self.opened if not source.closed]


class SteppedSource:
    """A source each of whose reads is a step."""

    def __init__(self, steps: Steps, pieces: list[bytes], name: str) -> None:
        self._steps, self._pieces, self.name = steps, pieces, name
        self._reading: Deferred[None] | None = None
        self.closed = False

    async def read(self, size: int) -> bytes:
        """Return the next piece; a close ends a read under way, as that of a real source does."""
        if not self.closed:
            self._reading = Deferred.fromCoroutine(self._steps.reach(f"{self.name}.read"))
            self._reading.addErrback(lambda failure: None if self.closed else failure)
            await self._reading
        return b"" if self.closed or not self._pieces else self._pieces.pop(0)

    def close(self) -> None:
        """Give it up."""
        self.closed = True
        if self._reading is not None:
            self._reading.cancel()


class Channel:
    """A client's connection."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        """Break it off."""
        self.aborted = True


class FakeRequest:
    """A request whose client takes each piece in a step.

    :param steps: passed by each piece.
    """

    code = 200
    remote_address = "192.0.2.1"

    def __init__(self, steps: Steps, *, method: bytes = b"GET", body: Any = None, **fields: str) -> None:
        self._steps, self.method, self.body = steps, method, body
        self.body_length: int | None = None
        self.channel: Channel | None = Channel()
        self.requestHeaders, self.responseHeaders = Headers(), Headers()
        for name, value in fields.items():
            self.requestHeaders.addRawHeader(name.replace("_", "-"), value)
        self.startedWriting = self.chunked = False
        self.sentLength = 0
        self.written: list[bytes] = []
        self.producer: Any = None
        self.outcome = Outcome()
        self.raw_path, self.raw_query = b"/git/git.example/org/repo/git-upload-pack", b""
        self.args: dict[bytes, list[bytes]] = {}
        self._gone: list[Deferred[None]] = []

    @property
    def connection(self) -> Channel | None:
        """The client's connection."""
        return self.channel

    async def collect(self, limit: int, *, encoding: str | None = None) -> Body:
        """Return its body."""
        await self._steps.reach("body")
        return HeldBody(await read_all(self.body, limit), digest="digest")

    async def read_body(self, limit: int) -> bytes:
        """Return its body's bytes."""
        return b"".join((await self.collect(limit)).pieces())

    @property
    def fields(self) -> Fields:
        """Its headers."""
        return Fields(self.requestHeaders.getAllRawHeaders())

    def notifyFinish(self) -> Deferred[None]:
        """Return what fails when the client leaves."""
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    def getHeader(self, name: str) -> str | None:
        """Return a header of the request."""
        values = self.requestHeaders.getRawHeaders(name)
        return values[-1] if values else None

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header of the answer."""
        self.responseHeaders.setRawHeaders(name, [value])

    def setResponseCode(self, code: int) -> None:
        """Set the status."""
        self.code = code

    def isSecure(self) -> bool:
        """Whether it came over HTTPS."""
        return False

    def write(self, data: bytes) -> None:
        """Take a piece of the answer, slowly."""
        self.startedWriting = True
        self.written.append(data)
        if data and self.producer is not None:
            self.producer.pauseProducing()
            taken = Deferred.fromCoroutine(self._steps.reach("client.takes", slow=True))
            taken.addCallbacks(lambda _: self._taken(), self._lost)

    def answer(self, body: bytes) -> None:
        """Take an answer that is there at once."""
        if self.channel is None:
            raise CancelledError()
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)

    def _taken(self) -> None:
        if self.producer is not None:
            self.producer.resumeProducing()

    def finish(self) -> None:
        """End the answer."""
        ended, self._gone = self._gone, []
        for each in ended:
            each.callback(None)

    def _lost(self, failure: Failure) -> None:
        self.channel = None
        gone, self._gone = self._gone, []
        for each in gone:
            each.errback(failure)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take who produces the answer."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget who has produced it."""
        self.producer = None
