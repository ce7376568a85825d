"""What clients receive of repositories that have no mirror yet, so that nobody receives it a second time.

The mirror that a client's first request has made waits until that client has been served. Where it has received a whole
pack, the mirror is made of the very bytes. Nobody waits any longer when a second client wants something else, or when
nothing comes any more.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.streams import FileSource
from cachew.plumbing.waiters import Waiters

_NEXT = 1.0
"""Seconds within which a client that has asked for refs asks for objects, if it does."""
_OF_ONE_CLIENT = 2
"""How often one client asks for refs: first for what can be asked for."""
_STALLED = 3.0
"""Seconds without a byte after which what a client is sent is no longer waited for, once it has begun to come."""
_FIRST_BYTE = 60.0
_LOOK = 1.0
_MOST = 1000
_MOST_PACKS = 16
"""How many packs are remembered of a repository, of which a mirror may never be made."""

Find = Callable[[], Awaitable[FileSource | None]]
"""Opens a response that carried a whole pack, None where it is not kept; whoever gets it closes it."""


@dataclass(frozen=True)
class _Whole:
    """A whole pack.

    :param instance: of which it is.
    :param wants: the object ids that it was made for.
    """

    instance: Instance
    wants: frozenset[str]
    find: Find


@dataclass
class _Clients:
    """Those of one repository.

    :param expected: ends the wait for a client that has asked for refs.
    :param asked: how often refs were asked for since that wait began.
    :param since: when it began.
    :param listings: how many are being told of refs.
    :param fetches: how many are being served.
    :param whole: how many of them with a whole pack.
    :param crowd: whether there were several who wanted different things.
    :param stalls_at: when what they are sent counts as stalled.
    """

    expected: IDelayedCall | None = None
    asked: int = 0
    since: float = 0.0
    listings: int = 0
    fetches: int = 0
    whole: int = 0
    crowd: bool = False
    stalls_at: float = 0.0
    received: list[_Whole] = field(default_factory=list)
    waiting: Waiters = field(default_factory=Waiters)

    def note(self, pack: _Whole) -> None:
        """Remember a whole pack; of too many, the oldest goes of those that were made for the least."""
        self.received.append(pack)
        if len(self.received) > _MOST_PACKS:
            self.received.remove(min(self.received, key=lambda one: len(one.wants)))

    def at_it(self, now: float) -> bool:
        """Whether it is worth waiting for them."""
        served = self.fetches > 0 and now < self.stalls_at
        return (self.whole > 0 and served) or (not self.crowd and (self.expects or served))

    @property
    def expects(self) -> bool:
        """Whether one of them may be about to ask for objects."""
        return self.listings > 0 or (self.expected is not None and self.expected.active())

    @property
    def gone(self) -> bool:
        """Whether there is nothing to remember of them."""
        return not (self.expects or self.fetches or self.received or self.waiting)


class Serving:
    """One client that is being served.

    :param moved: is told when something has come for it.
    :param ended: is told once, when it has come to its end.
    """

    def __init__(self, moved: Callable[[], None], ended: Callable[[], None]) -> None:
        self._moved, self._ended = moved, ended
        self._over = False

    def moved(self) -> None:
        """Take notice that something has come."""
        self._moved()

    def ended(self) -> None:
        """Take notice of the end, however it came."""
        if not self._over:
            self._over = True
            self._ended()


class FirstClones:
    """Who is served before a mirror is there, and what each of them has received.

    :param reactor: how long a client is waited for that has asked for refs.
    """

    def __init__(self, *, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._clients: dict[Identity, _Clients] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def asked(self, identity: Identity) -> None:
        """Take notice that a client has asked for refs, so that it is likely to ask for objects."""
        clients = self._of(identity)
        if not clients.expects:
            clients.asked, clients.since = 0, self._reactor.seconds()
        clients.asked += 1
        if clients.asked <= _OF_ONE_CLIENT:  # those who keep asking must not keep the mirror from being made
            self._expect(identity, clients)

    @contextmanager
    def listing(self, identity: Identity) -> Iterator[None]:
        """Wait for a client that has asked for refs while it is told of them, and then for what it asks for next.

        The mirror would have the same listed at the same time, over the same link.
        """
        clients = self._clients.get(identity)
        if clients is None or (clients.asked > _OF_ONE_CLIENT and self._reactor.seconds() - clients.since >= _NEXT):
            # It may be of those who keep asking, and not of those who began together.
            yield
            return
        clients.listings += 1
        try:
            yield
        finally:
            clients.listings -= 1
            if self._clients.get(identity) is clients:
                self._expect(identity, clients)

    def _expect(self, identity: Identity, clients: _Clients) -> None:
        """Wait for a client's next request from now on."""
        if clients.expected is not None and clients.expected.active():
            clients.expected.reset(_NEXT)
        else:
            clients.expected = self._reactor.callLater(_NEXT, self._changed, identity)

    def only_listed(self, identity: Identity) -> None:
        """Take notice that the client that has asked for refs wants no objects; it asked twice, as git does."""
        clients = self._clients.get(identity)
        if clients is not None and clients.asked <= _OF_ONE_CLIENT and clients.expected is not None:
            if clients.expected.active():
                clients.expected.cancel()
            self._changed(identity)

    def began(self, instance: Instance, wants: Sequence[str] | None, find: Find) -> Serving:
        """Take notice that a client is being served by the upstream.

        :param wants: what for, when it gets all that they reach; None when it gets less.
        :param find: opens what it was sent, when that has come to its end.
        """
        clients = self._of(instance.identity)
        clients.crowd |= clients.fetches > 0
        clients.fetches += 1
        clients.whole += wants is not None
        clients.stalls_at = self._reactor.seconds() + _FIRST_BYTE
        if clients.expected is not None and clients.expected.active():
            clients.expected.cancel()

        def moved() -> None:
            clients.stalls_at = self._reactor.seconds() + _STALLED

        def ended() -> None:
            clients.fetches -= 1
            if wants is not None:
                clients.whole -= 1
                clients.note(_Whole(instance, frozenset(wants), find))
            self._changed(instance.identity)

        self._changed(instance.identity)
        return Serving(moved, ended)

    async def served(self, identity: Identity) -> None:
        """Wait until the clients have been served for whose sake a mirror is to be made."""
        while (clients := self._clients.get(identity)) is not None and clients.at_it(self._reactor.seconds()):
            await self._wait(clients)

    async def received(self, instance: Instance, listed: Set[str]) -> Sequence[Find]:
        """Return the whole packs that clients have received of an instance, after waiting for those under way.

        Those that were made for the most come first, so that others may add nothing to them.

        :param listed: what the server itself was listed: what only a client may have is not for the mirror.
        """
        while (
            (clients := self._clients.get(instance.identity)) is not None
            and clients.whole
            and clients.at_it(self._reactor.seconds())
        ):
            await self._wait(clients)
        if clients is None:
            return ()
        received, clients.received = sorted(clients.received, key=lambda one: -len(one.wants)), []
        self._changed(instance.identity)
        return [one.find for one in received if one.instance == instance and one.wants <= listed]

    async def _wait(self, clients: _Clients) -> None:
        """Wait until something has happened, or for as long as nothing may."""
        await clients.waiting.wait().addTimeout(_LOOK, self._reactor, lambda *_: None)

    def _of(self, identity: Identity) -> _Clients:
        if identity not in self._clients and len(self._clients) >= _MOST:
            idle = (known for known, clients in self._clients.items() if not clients.waiting)
            self._clients.pop(next(idle, identity), None)
        return self._clients.setdefault(identity, _Clients())

    def _changed(self, identity: Identity) -> None:
        clients = self._clients.get(identity)
        if clients is None:
            return
        clients.waiting.wake()
        if clients.gone:
            self._clients.pop(identity, None)
