"""Downloads an object whose length and entity tag are known, in parts, over as many connections as it takes.

Every request is pinned to the tag with ``If-Match``: all parts are of one object or the download starts over. A server
that is near is asked once, for all parts, since each request costs it as much as sending 10 MB; as soon as a part is
waited for, each is asked for alone, by several connections. A part that breaks off is resumed where it broke. Parts
are received straight into a ring of buffers that are used again and again: fresh memory for every part would cost more
than receiving it, and is taken from the system only when something is there.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

from cachew.client.buffers import new_buffer
from cachew.client.clienterrors import ObjectChanged, ServerRefused, ServerUnreachable
from cachew.client.connections import Headers, ServerResponse
from cachew.client.http import Http, refusal
from cachew.client.integrity import Integrity
from cachew.client.location import Location
from cachew.client.retries import Retries, is_passing
from cachew.client.transferprogress import TransferProgress
from cachew.client.workers import Job, Workers

_AHEAD = 2
_PATIENCE = 0.05
"""Seconds that a part may be waited for before one connection more is used; near a server it is there long before."""
_STEP = 512 * 1024
"""The bytes after which progress is told of what has to be waited for; of all else a part is received by one call."""
TAIL = 64 * 1024
"""The bytes at an archive's end that hold its table, unless that is uncommonly long."""


class DownloadTerms(Protocol):
    """How to download (:class:`cachew.client.download.Downloads`)."""

    http: Http
    progress: TransferProgress
    connections: int
    piece_size: int
    retries: Retries
    follows: bool
    came_from_store: bool
    takes_parts: bool


class _Ongoing(NamedTuple):
    """An answer that brings more than has been read of it.

    :param position: in the object, of what comes next.
    :param end: where the answer ends.
    """

    answer: ServerResponse
    position: int
    end: int


class _KeptAnswer:
    """The answer of the one connection that there is, for whoever fetches the next part."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ongoing: _Ongoing | None = None
        self._closed = False

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return self._ongoing is not None

    def keep(self, ongoing: _Ongoing) -> None:
        """Keep an answer, unless nobody will want it."""
        with self._lock:
            if not self._closed:
                self._ongoing = ongoing
                return
        ongoing.answer.close()

    def take(self, start: int) -> _Ongoing | None:
        """Return it when it goes on where a part begins; it is of no use otherwise."""
        with self._lock:
            ongoing, self._ongoing = self._ongoing, None
        if ongoing is not None and ongoing.position != start:
            ongoing.answer.close()
            return None
        return ongoing

    def close(self) -> None:
        """Let it go, and any that would be kept."""
        self._closed = True
        self.take(-1)


class RangedDownload:
    """An object on its way in parts.

    :param terms: how to download.
    :param etag: the tag that every part must have, with its quotes.
    :param size: bytes.
    :param whole: whether all of it will be asked for, so that length and digest can be checked.
    """

    def __init__(
        self, terms: DownloadTerms, url: str, *, etag: str, size: int, headers: Headers, whole: bool = True
    ) -> None:
        self.headers: Mapping[str, str] = headers
        self.size = size
        self.is_whole = whole
        self._said = headers
        self._terms = terms
        self._url = url
        self._etag = etag
        self._location = Location(terms.http, url, etag=etag, size=size, follows=terms.follows)
        self._integrity = Integrity(size=size, etag=etag) if whole else Integrity(size=None, etag="")
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._answers: set[ServerResponse] = set()
        self._kept = _KeptAnswer()
        self._end = b""
        self._last = size
        """Where requests end that are for more than one part; 0 when each is for one."""

    @property
    def is_digested(self) -> bool:
        """Whether every byte of it is checked by a digest at the end."""
        return self._integrity.is_digested

    def pieces(self) -> Generator[memoryview, None, None]:
        """Yield the object in order; a piece is good until the next one is asked for."""
        return self.parts(range(0, self.size, self._terms.piece_size), lasting=0)

    def parts(
        self, starts: Sequence[int], *, lasting: int, end: int | None = None
    ) -> Generator[memoryview, None, None]:
        """Yield the object in order, in parts of the caller's choice, while later ones are on their way.

        :param starts: where each part begins; the first begins at 0, unless not all of it is asked for.
        :param end: where the last one ends; None for the object's end.
        :param lasting: how many parts before the last one that was asked for stay as they are.
        """
        bounds = list(zip(starts, [*starts[1:], self.size if end is None else end]))  # noqa: B905 (Python 3.9)
        room = max(end - start for start, end in bounds)
        memory = new_buffer(room * min(self._terms.connections + _AHEAD + lasting, len(bounds)))
        ring = deque[memoryview]()
        if not self._kept:
            self._location.expect(bounds[-1][1] - bounds[0][0])
        workers, pending = Workers(1, "download"), deque[Job[memoryview]]()
        integrity, self._last = self._integrity, bounds[-1][1]
        self._terms.progress.begin("Downloading", bounds[-1][1] - bounds[0][0])
        begun = 0
        try:
            for number in range(len(bounds)):
                while begun < min(number + workers.count + _AHEAD, len(bounds)):
                    start, end = bounds[begun]
                    oldest = begun - len(ring)
                    if oldest < number - lasting:
                        # Nobody reads that part any more, once it is digested.
                        integrity.settle(number - 1 - oldest)
                        ring.rotate(-1)
                    else:
                        ring.append(memory[len(ring) * room :][:room])
                    view = ring[-1][: end - start]
                    pending.append(workers.submit(self._fetch, view, start, self._terms.progress.advance))
                    begun += 1
                self._hasten(workers, pending)
                part = pending.popleft().result()
                integrity.add(part)
                yield part
            integrity.verify()
        finally:
            self._terms.came_from_store |= self._location.was_elsewhere
            self.close()
            workers.close()
            integrity.close()
            self._terms.progress.finish()

    def tail(self, count: int) -> bytes:
        """Return the last bytes."""
        count = min(count, self.size)
        if count <= len(self._end):
            return self._end[-count:]
        return bytes(self._fetch(memoryview(bytearray(count)), self.size - count, lambda _: None))

    def ask_ahead(self) -> None:
        """Fetch where an archive has its table, and have the server begin to send all, for :meth:`parts`."""
        self._end = self.tail(TAIL)
        self._location.expect(self.size)
        with suppress(ServerUnreachable, ServerRefused):  # what goes wrong now may go well then
            self._kept.keep(self._asked(0, self.size))

    def close(self) -> None:
        """Break off every request."""
        self._stopped.set()
        with self._lock:
            for answer in self._answers:
                answer.break_off()
        self._kept.close()

    def _hasten(self, workers: Workers, pending: "Sequence[Job[memoryview]]") -> None:
        """Use more connections while the next part does not come and there are others to be asked for."""
        while workers.count < min(self._terms.connections, len(pending)) and not pending[0].is_done_within(_PATIENCE):
            self._last = 0
            workers.join_in(self._terms.connections)

    def _fetch(self, view: memoryview, start: int, received: Callable[[int], object]) -> memoryview:
        filled = failures = 0
        while True:
            before = filled
            try:
                for count in self._received(view[filled:], start + filled):
                    filled += count
                    received(count)
                return view
            except (ServerUnreachable, ServerRefused) as error:
                failures = failures + 1 if filled == before else 1
                asked, retries = error.retry_after, self._terms.retries
                if self._stopped.is_set() or not is_passing(error) or not retries.allow(failures, asked):
                    raise
                self._location.tell_broken()
            retries.wait(failures, asked)
            if self._stopped.is_set():
                raise ObjectChanged("the download was given up")

    def _received(self, view: memoryview, start: int) -> Iterator[int]:
        end = start + len(view)
        ongoing = self._kept.take(start) or self._asked(start, max(end, self._last))
        step = len(view) if start and self._last else _STEP
        try:
            with self._under_way(ongoing.answer), self._terms.http.reaching():
                while view:
                    count = ongoing.answer.readinto(view[:step])
                    if not count:
                        # The answer came to its end in order, though it was to bring more (RFC 9110, section 15.3.7).
                        raise ServerUnreachable(f"the server sent {len(view)} bytes less than it announced")
                    yield count
                    view = view[count:]
                    if self._stopped.is_set():
                        raise ObjectChanged("the download was given up")
        except BaseException:
            ongoing.answer.close()
            raise
        if self._last and end < ongoing.end:
            self._kept.keep(ongoing._replace(position=end))
        else:
            ongoing.answer.close()

    def _asked(self, start: int, end: int) -> _Ongoing:
        answer, is_right = self._location.get(start, end)
        try:
            if not is_right:
                self._check(answer, start, end)
        except BaseException:
            answer.close()
            raise
        if self._location.said is not None:
            self._adopt(self._location.said)
        elif not start:
            self._adopt(answer.headers)
        return _Ongoing(answer, start, end)

    @contextmanager
    def _under_way(self, answer: ServerResponse) -> Iterator[None]:
        with self._lock:
            self._answers.add(answer)
        try:
            yield
        finally:
            with self._lock:
                self._answers.discard(answer)

    def _adopt(self, headers: Mapping[str, str]) -> None:
        # What comes with the content is newer than what came with HEAD, and not every server says all there.
        ours = [(name, value) for name, value in headers.items() if name.lower().startswith("x-cachew-")]
        self.headers = self._said.replaced(ours)

    def _check(self, answer: ServerResponse, start: int, end: int) -> None:
        if self._location.is_right(answer, start, end) and answer.headers.get("ETag", self._etag) == self._etag:
            return
        if answer.status == 200 and answer.headers.get("ETag") == self._etag:
            self._terms.takes_parts = False
            raise ObjectChanged("the server, or a proxy before it, sends all where a part was asked for")
        if answer.status in (200, 206, 404, 412, 416):
            raise ObjectChanged("the object changed on the server during the download", "Run the command again.")
        raise refusal(answer, self._url)
