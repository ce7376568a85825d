"""What the test upstream was asked, told apart by kind, and the events that tests wait for instead of sleeping."""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

OPERATION = re.compile(
    r"^/(?P<repository>.+?)(?:\.git)?/(?P<operation>info/refs|git-upload-pack|git-receive-pack|info/lfs/.+|HEAD|objects/.+)$"
)
HEAD_SIZE = 1024 * 1024
"""How much of a request's body is kept, in bytes."""


@dataclass(eq=False)
class Exchange:
    """One request that reached the upstream.

    :param query: the query's words, the last of each name.
    :param headers: by lower-case name.
    :param kind: ``caps``, ``refs``, ``pack``, ``push-refs``, ``push``, ``lfs``, ``lfs-object`` or ``other``.
    :param repository: its name without ``.git``, empty when the path names none.
    :param body: the start of the body, inflated.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    kind: str
    repository: str
    operation: str
    body: bytes
    outcome: str = "open"
    _waiting: list[Deferred[str]] = field(default_factory=list, repr=False)

    def close(self, outcome: str) -> None:
        """Note how the exchange ended: ``finished``, or ``lost`` when the client went away or was cut off."""
        self.outcome = outcome
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(outcome)

    async def end(self) -> str:
        """Wait for the exchange's end and return its outcome."""
        if self.outcome == "open":
            self._waiting.append(Deferred())
            await self._waiting[-1]
        return self.outcome


class Journal:
    """Every exchange in the order of its arrival, and who waits for the next."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._waiting: list[tuple[Callable[[Exchange], bool], Deferred[Exchange]]] = []

    def record(self, exchange: Exchange) -> None:
        """Add an exchange and wake who waits for one like it."""
        self.exchanges.append(exchange)
        waiting, self._waiting = self._waiting, []
        for matches, deferred in waiting:
            if matches(exchange):
                deferred.callback(exchange)
            else:
                self._waiting.append((matches, deferred))

    def of(self, kind: str | None = None, repository: str | None = None) -> list[Exchange]:
        """Return the exchanges of a kind, of a repository, or both."""
        return [one for one in self.exchanges if kind in (None, one.kind) and repository in (None, one.repository)]

    async def next(self, kind: str | None = None, repository: str | None = None) -> Exchange:
        """Wait for the next exchange of a kind that arrives from now on."""
        deferred: Deferred[Exchange] = Deferred()
        self._waiting.append((lambda one: kind in (None, one.kind) and repository in (None, one.repository), deferred))
        return await deferred

    async def reached(self, count: int, kind: str | None = None, repository: str | None = None) -> list[Exchange]:
        """Wait until at least ``count`` exchanges of a kind have arrived, however long ago, and return them."""
        while len(found := self.of(kind, repository)) < count:
            await self.next(kind, repository)
        return found


def split(path: str) -> tuple[str, str]:
    """Return the repository (without ``.git``) and the operation that a path names, empty when it names none."""
    found = OPERATION.match(path)
    return (found["repository"], found["operation"]) if found else ("", "")


def kind_of(operation: str, service: str, *, version_2: bool, body: bytes) -> str:
    """Say what a request asks for.

    :param operation: as from :func:`split`.
    :param service: the ``service`` of its query.
    :param version_2: whether protocol v2 is spoken, by both sides.
    :param body: the start of its body, inflated.
    """
    if operation == "info/refs":
        if service == "git-receive-pack":
            return "push-refs"
        return "caps" if version_2 else "refs"
    if operation == "git-upload-pack":
        command = body[4 : int(body[:4] or b"0", 16)].rstrip() if version_2 else b"command=fetch"
        return {b"command=ls-refs": "refs", b"command=fetch": "pack"}.get(command, "other")
    if operation == "git-receive-pack":
        return "push"
    if operation.startswith("info/lfs/"):
        return "lfs-object" if operation.startswith("info/lfs/storage/") else "lfs"
    return "other"


def inflate(data: bytes, encoding: str) -> bytes:
    """Return the start of a body, decoded when it is gzipped and that can be decoded."""
    if encoding not in ("gzip", "x-gzip"):
        return data[:HEAD_SIZE]
    try:
        return zlib.decompressobj(wbits=31).decompress(data, HEAD_SIZE)
    except zlib.error:
        return data[:HEAD_SIZE]
