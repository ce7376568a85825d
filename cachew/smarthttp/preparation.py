"""Packs made ahead: when a mirror has a new tip, what clients will ask for next is made before they ask.

Jobs of CI fetch each new tip in the same few shapes (:mod:`cachew.smarthttp.requestshapes`), so that the first can find
a kept pack. This takes nothing from clients: one pack at a time is made, by processes of the lowest priority, none
while clients wait for a place, and whoever asks for one whose first byte isn't there yet has his own made. Packs of
former tips, which nobody clones again, are given up.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.http.incoming import Body, HeldBody
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError
from cachew.smarthttp.clientcommands import Fetch, V0Request, V2Fetch
from cachew.smarthttp.mirrorpacks import Asked, MirrorPacks
from cachew.smarthttp.packcache import PackCache
from cachew.smarthttp.request import read_command
from cachew.smarthttp.requestshapes import AskedShapes, Shape

_PAUSE = 0.25
"""Seconds after a fetch: the client that had it begun asks first."""


def _not_noted(mirror: Mirror, command: Fetch, body: Body, protocol: str | None) -> None:
    """Take no notice of a fetch."""


@dataclass
class _Work:
    """What is to be made of one repository.

    :ivar due: the shapes that have to be made still.
    :ivar making: what is being made.
    """

    instance: Instance
    due: list[Shape] = field(default_factory=list)
    making: tuple[Shape, Deferred[bool]] | None = None
    at_work: bool = False


class Preparation:
    """Makes packs ahead.

    :param cache: keeps them.
    :param mirrored: has mirrors answer at low priority.
    :param find: returns a repository's mirror, if that serves.
    :param most: how many shapes are made for a new tip of a repository; 0 for none.
    :param busy: says whether clients wait for places.
    :param reactor: for the pause after a fetch.
    :param background: where packs are made.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cache: PackCache,
        mirrored: MirrorPacks,
        find: Callable[[Identity], Mirror | None],
        most: int,
        busy: Callable[[], bool],
        reactor: IReactorTime,
        background: Background,
    ) -> None:
        self._cache = cache
        self._mirrored = mirrored
        self._find = find
        self._most = most
        self._busy = busy
        self._reactor = reactor
        self._background = background
        self._work_for: dict[str, _Work] = {}
        self._shapes = AskedShapes(forgotten=self._give_up)
        self.asked: Asked = self._shapes.asked if most else _not_noted
        """Is told of each fetch that a client sends: the mirror, the command, its body and ``Git-Protocol`` header."""

    def __len__(self) -> int:
        return len(self._shapes)

    def grown(self, identity: Identity) -> None:
        """Make what is expected of a mirror that has fetched, and give up what was made of tips that it has no more."""
        mirror = self._find(identity)
        if mirror is not None:
            self._cache.kept.given_up.add(self._mirrored.of_tips.outdated(identity.name, mirror.refs.state))
        shapes = None if mirror is None else self._shapes.of(mirror.life.instance)
        if mirror is None or shapes is None:
            return
        known = self._work_for.setdefault(identity.name, _Work(mirror.life.instance))
        expected = shapes.moved(mirror.refs.state)[: self._most]
        if known.making is not None and known.making[0] in expected:
            known.making[1].cancel()  # its tip is not the newest any more
        known.due = [*expected, *(shape for shape in known.due if shape not in expected)][: self._most]
        if known.due and not known.at_work:
            known.at_work = True
            self._background.start(self._work(known, mirror), f"making packs of {identity.name} ahead")

    def forget(self, instance: Instance) -> None:
        """Forget what is known of an instance that has ended, and make nothing of it any more."""
        self._cache.kept.given_up.add(self._mirrored.of_tips.forget(instance))
        self._shapes.forget(instance)

    def _give_up(self, name: str) -> None:
        if (known := self._work_for.pop(name, None)) is not None:
            known.due.clear()
            if known.making is not None:
                known.making[1].cancel()

    async def _work(self, known: _Work, mirror: Mirror) -> None:
        try:
            await deferLater(self._reactor, _PAUSE)
            while known.due:
                await self._make(known, mirror, known.due.pop(0))
        finally:
            known.at_work = False

    async def _make(self, known: _Work, mirror: Mirror, shape: Shape) -> None:
        serves = (
            self._find(mirror.identity) is mirror
            and mirror.life.instance == known.instance
            and mirror.verification.intact()
        )
        request = shape.body(mirror.refs.by_name) if serves and not self._busy() else None
        if request is None:
            return
        command = read_command((request,), shape.protocol)
        if not isinstance(command, V0Request | V2Fetch):
            return
        body = HeldBody(request, digest=hashlib.sha256(request).hexdigest())
        making = self._cache.prepare(
            self._mirrored.key(mirror, command),
            lambda: self._mirrored.produce(mirror, command, body, shape.protocol),
        )
        known.making = shape, making
        try:
            await _end_of(making)
            self.log.debug("{repository}: a pack was made ahead", repository=mirror.identity.name)
        except (CachewError, OSError) as failure:
            self.log.info(
                "{repository}: no pack is made ahead: {reason}", repository=mirror.identity.name, reason=str(failure)
            )
        finally:
            known.making = None
            making.cancel()


def _end_of(work: Deferred[bool]) -> Deferred[bool]:
    """Return the result of work that may be cancelled by others; who waits for this is told when he is himself."""
    over: Deferred[bool] = Deferred()

    def ended(result: bool | Failure) -> None:
        if not over.called:
            over.callback(result)

    work.addBoth(ended)
    return over
