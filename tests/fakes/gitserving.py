"""What serves clones and fetches, each wait of which is a step (:mod:`tests.fakes.disturbance`)."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.freshness import Answer
from cachew.mirrors.gonerefs import GoneRefs
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.refs import RefState
from cachew.plumbing.child import Command
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from cachew.plumbing.streams import Source
from cachew.upstream.client import UpstreamResponse
from cachew.upstream.listing import Capabilities, Listing, RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import Sources, SteppedSource, Steps
from tests.fakes.instances import only

IDENTITY = Identity("git.example", "org/repo")
OID = "a" * 40
_CONTENT = b"PACK" + b"x" * 1000
PACK = encode_all([b"packfile\n", b"\x01" + _CONTENT + sha1(_CONTENT).digest(), FLUSH])
RESULT = "application/x-git-upload-pack-result"
LISTING = Listing((RemoteRef("HEAD", OID, symref_target="refs/heads/main"), RemoteRef("refs/heads/main", OID)))
FETCH = encode_all([b"command=fetch", b"object-format=sha1", DELIM, b"want " + OID.encode(), b"done", FLUSH])


def threads_of(steps: Steps) -> Callable[..., Any]:
    """Return threads whose work is done, like that of real ones, though who has asked leaves meanwhile."""

    async def in_thread(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        await steps.reach(f"thread {getattr(function, '__name__', function)}")
        return result

    return in_thread


class FakeChild:
    """A process that runs nowhere; it ends when its output has been read or closed."""

    def __init__(self, command: Command, output: SteppedSource) -> None:
        self.command, self._output = command, output
        self.running = True
        self.failed = False
        self._waiters: list[Deferred[None]] = []
        self._into: Callable[[int], int] | None = None

    def stand_back(self, niceness: int) -> None:
        """It takes no time."""

    @property
    def stdout(self) -> Source:
        """What it writes."""
        return self

    @property
    def output(self) -> "FakeChild":
        """The pipe that it writes to."""
        return self

    async def read(self, size: int) -> bytes:
        """Return what it writes next; the end only, once it is diverted."""
        while (data := await self._output.read(size)) and self._into is not None:
            _through_a_pipe(data, self._into)
        if not data:
            self._end()
        return data

    def divert(self, into: Callable[[int], int]) -> bytes:
        """Have what it writes from now on taken out of a pipe."""
        self._into = into
        return b""

    def close(self) -> None:
        """End it."""
        self._output.close()
        self._end()

    def _end(self) -> None:
        self.running = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def wait(self) -> None:
        """Wait for its end."""
        if self.running:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter


def _through_a_pipe(data: bytes, into: Callable[[int], int]) -> None:
    taking, putting = os.pipe()
    try:
        os.write(putting, data)
        into(taking)
    finally:
        os.close(taking)
        os.close(putting)


class FakeProcesses:
    """Starts processes that run nowhere.

    :param outputs: what each of them writes, in pieces.
    """

    def __init__(self, steps: Steps, *outputs: bytes) -> None:
        self._steps, self._outputs = steps, outputs
        self.children: list[FakeChild] = []

    def start(self, command: Command, *, stdin: Source | None = None, **_: Any) -> FakeChild:
        """Start one."""
        if stdin is not None:
            stdin.close()
        self.children.append(FakeChild(command, SteppedSource(self._steps, list(self._outputs), "backend")))
        return self.children[-1]

    def left(self) -> list[str]:
        """Name what runs."""
        return ["a child runs" for child in self.children if child.running]


class FakeUpstream:
    """Answers forwarded requests and downloads.

    :param pieces: of each answer.
    """

    def __init__(self, steps: Steps, *pieces: bytes, content_type: str = RESULT, status: int = 200) -> None:
        self._steps, self.pieces, self._type, self._status = steps, pieces, content_type, status
        self.sources = Sources(steps)
        self.asked = 0

    async def forward(
        self,
        method: bytes,
        url: str,
        headers: Any,
        body: Source | None = None,
        length: int | None = None,
        *,
        credential: str | None = None,
        written: str = "",
    ) -> UpstreamResponse:
        """Pass a request on."""
        self.asked += 1
        try:
            await self._steps.reach("upstream answers")
        finally:
            if body is not None:
                body.close()
        return self._response(url)

    async def download(self, href: str, headers: Any, *, home: str) -> UpstreamResponse:
        """Get an object."""
        self.asked += 1
        await self._steps.reach("storage answers")
        return self._response(href)

    def may_hold(self, href: str, *, home: str) -> bool:
        """Whether it may be fetched from there."""
        return True

    def _response(self, url: str) -> UpstreamResponse:
        source = self.sources.of(*self.pieces, name="upstream")
        length = sum(map(len, self.pieces))
        return UpstreamResponse(self._status, [(b"Content-Type", self._type.encode())], source, length, url)


class FakeVerification:
    """Takes note of doubts: whether the mirror may serve meanwhile."""

    def __init__(self) -> None:
        self.doubts: list[bool] = []

    def doubt(self, *, serving: bool) -> None:
        """Note it."""
        self.doubts.append(serving)

    def intact(self) -> bool:
        """Nobody has written to it."""
        return True

    async def settled_soon(self) -> None:
        """Return at once."""


@dataclass
class FakeMirror:
    """A mirror that has what is wanted, or nothing.

    :param lacks: whether it lacks what is wanted until that is fetched.
    :param late: whether only who is patient gets that.
    :param absent: whether it never comes, since the upstream hasn't got it either.
    """

    directory: Path
    ready: bool = True
    identity: Identity = IDENTITY
    by_name: dict[str, str] = field(default_factory=lambda: {"refs/heads/main": OID})
    instance: Instance = field(default_factory=lambda: only(IDENTITY))
    generation: str = "1"
    object_format: str = "sha1"
    lacks: bool = False
    late: bool = False
    absent: bool = False
    verification: FakeVerification = field(default_factory=FakeVerification)
    upstream_url: str = "https://git.example/org/repo"

    @property
    def refs(self) -> "FakeMirror":
        """It is most of its parts by itself."""
        return self

    life = place = objects = repository = wanted = found = ledger = updates = refs
    under_way: bool = False
    gone = GoneRefs(clock=FakeClock())

    def touched(self) -> str:
        """Return which of its files somebody has written to: none."""
        return ""

    def asked_for(self, oid: str) -> bool:
        """Whether an object is fetched by its id."""
        return False

    def shallow(self) -> tuple[str, ...]:
        """Return where: nowhere."""
        return ()

    @property
    def state(self) -> RefState:
        """Return its refs, of which ``main`` is the default branch."""
        return RefState(self.by_name, "refs/heads/main")

    @property
    def pack_source(self) -> str:
        """Return its generation."""
        return self.generation

    def missing(self, oids: Sequence[str]) -> list[str]:
        """Return what it lacks."""
        return list(oids) if self.lacks else []

    async def lacking(self, oids: Sequence[str]) -> list[str]:
        """Return what it lacks."""
        return self.missing(oids)


@dataclass
class FakeMirrors:
    """One mirror."""

    mirror: FakeMirror
    first: FirstClones = field(default_factory=lambda: FirstClones(reactor=FakeClock()))

    def obtain(self, identity: Identity) -> FakeMirror:
        """Return it."""
        return self.mirror

    def want_after(self, identity: Identity) -> None:
        """Nothing is mirrored here."""


class FakeSupply:
    """Finds what the mirror lacks, after a while.

    :ivar bases: the objects of clients that it got.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.bases: list[str] = []

    async def missing(
        self, mirror: FakeMirror, oids: Sequence[str], authorization: str | None, *, patient: bool = False
    ) -> list[str]:
        """Get it."""
        await self._steps.reach("supply")
        await mirror.lacking(oids)
        if mirror.absent or (mirror.late and not patient):
            return list(oids)
        mirror.lacks = False
        return []

    async def bring_base(self, mirror: FakeMirror, had: Sequence[str], asker: object) -> None:
        """Get what a client has."""
        if had:
            await self._steps.reach("base")
            self.bases.extend(had)


class FakeFreshness:
    """Knows no refs before it is asked; lists those of an upstream then, after a while.

    :param listing: what the upstream lists.
    :param stale: whether it is the mirror's, because the upstream does not answer.
    """

    interval = 10.0

    def __init__(self, steps: Steps, listing: Listing = LISTING, *, stale: bool = False) -> None:
        self._steps, self._answer = steps, Answer(listing, stale=stale)
        self.asked: list[object] = []
        self.heard: Listing | None = None

    @property
    def known(self) -> "FakeFreshness":
        """Return what knows them."""
        return self

    def listing(self, identity: Identity, below: str | None = None) -> Listing | None:
        """Return those that were heard before."""
        return self.heard

    def asked_within(self, identity: Identity, seconds: float) -> bool:
        """Whether the upstream was asked."""
        return bool(self.asked)

    def knows(self, identity: Identity) -> bool:
        """Say that the repository is known."""
        return True

    def least(self, identity: Identity) -> str:
        """Return the kind of listing that costs least."""
        return "least"

    async def refs(
        self, identity: Identity, kind: object, authorization: str | None, *, interval: float | None = None
    ) -> Answer:
        """List refs of a kind."""
        return await self.answer(identity, kind, authorization)

    async def answer(self, identity: Identity, prefixes: object, authorization: str | None) -> Answer:
        """List refs."""
        self.asked.append(prefixes)
        await self._steps.reach("refs are listed")
        return self._answer

    async def named(self, identity: Identity, names: object, authorization: str | None) -> Answer:
        """List refs by their full names."""
        return await self.answer(identity, names, authorization)


class FakeRemotes:
    """Where the upstream is."""

    url = "https://git.example/org/repo"

    def __init__(self) -> None:
        self.capabilities: Capabilities | None = None

    def of(self, identity: Identity) -> "FakeRemotes":
        """Return it."""
        return self

    def speaks(self, capabilities: Capabilities) -> None:
        """Note what it speaks."""
        self.capabilities = capabilities


DIED = ProcessFailed("git-http-backend", 128, "fatal: it died")
