"""Packs made ahead: when a mirror has a new tip, what clients will ask for next is made before they ask.

Jobs of CI fetch each new tip in the same few shapes (:mod:`cachew.smarthttp.requestshapes`), so that the first can find
a kept pack. This takes nothing from clients: one pack at a time is made, by processes of the lowest priority, none
while clients wait for a place, and whoever asks for one whose first byte isn't there yet has his own made.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.http.collecting import Body, HeldBody
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError
from cachew.smarthttp.clientcommands import V0Request, V2Fetch
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.smarthttp.packcache import PackCache
from cachew.smarthttp.request import read_command
from cachew.smarthttp.requestshapes import RequestShapes, Shape, may_have_shape

_PAUSE = 0.25
"""Seconds after a fetch: the client that had it begun asks first."""
_MOST_REPOSITORIES = 1000
_LARGEST_REQUEST = 256 * 1024
"""Bytes of a request above which it isn't looked at."""


@dataclass
class _Repository:
    """What is known of one.

    :ivar due: the shapes that have to be made still.
    :ivar making: what is being made.
    """

    instance: Instance
    shapes: RequestShapes = field(default_factory=RequestShapes)
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
        self._repositories: OrderedDict[str, _Repository] = OrderedDict()

    def __len__(self) -> int:
        return len(self._repositories)

    def asked(self, mirror: Mirror, command: V0Request | V2Fetch, body: Body, protocol: str | None) -> None:
        """Take note of a fetch that a client sends.

        :param body: the request, of which the command was read.
        :param protocol: the ``Git-Protocol`` header.
        """
        if self._most and body.size <= _LARGEST_REQUEST and may_have_shape(command):
            shapes = self._of(mirror).shapes
            shapes.note(command, body.pieces(), protocol, lambda: mirror.refs.state)

    def _of(self, mirror: Mirror) -> _Repository:
        name = mirror.identity.name
        known = self._repositories.get(name)
        if known is None or known.instance != mirror.life.instance:
            self._drop(name)
            known = self._repositories[name] = _Repository(mirror.life.instance)
            if len(self._repositories) > _MOST_REPOSITORIES:
                self._drop(next(iter(self._repositories)))
        self._repositories.move_to_end(name)
        return known

    def grown(self, identity: Identity) -> None:
        """Make what is expected of a mirror that has fetched."""
        known, mirror = self._repositories.get(identity.name), self._find(identity)
        if known is None or mirror is None:
            return
        if known.instance != mirror.life.instance:
            self._drop(identity.name)
            return
        expected = known.shapes.moved(mirror.refs.by_name)[: self._most]
        if known.making is not None and known.making[0] in expected:
            known.making[1].cancel()  # its tip is not the newest any more
        known.due = [*expected, *(shape for shape in known.due if shape not in expected)][: self._most]
        if known.due and not known.at_work:
            known.at_work = True
            self._background.start(self._work(known, mirror), f"making packs of {identity.name} ahead")

    def forget(self, instance: Instance) -> None:
        """Forget what is known of an instance that has ended, and make nothing of it any more."""
        known = self._repositories.get(instance.identity.name)
        if known is not None and known.instance == instance:
            self._drop(instance.identity.name)

    def _drop(self, name: str) -> None:
        if (known := self._repositories.pop(name, None)) is not None:
            known.due.clear()
            if known.making is not None:
                known.making[1].cancel()

    async def _work(self, known: _Repository, mirror: Mirror) -> None:
        try:
            await deferLater(self._reactor, _PAUSE)
            while known.due:
                await self._make(known, mirror, known.due.pop(0))
        finally:
            known.at_work = False

    async def _make(self, known: _Repository, mirror: Mirror, shape: Shape) -> None:
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
