"""Which fetches come again for each new tip, as those of CI do.

A shape is a fetch without its wants, together with the refs whose tips the wants were. Clients of a new tip send what
clients of the last one have sent but for that id, so the request, and the key of its answer, can be told before
anybody asks. What has haves, or names objects in another way, is one client's own and has no shape.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachew.http.incoming import Body
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.refs import MIRRORED, RefState
from cachew.plumbing.pktline import Packet, decode, encode_all
from cachew.smarthttp.clientcommands import Fetch, Oids

TIPS = 3
"""The last tips for which a shape must have come."""
TIMES = 2
"""How often it must have come for each of them."""
_MOST_SHAPES = 16
"""Those of one repository that are remembered; the longest unused goes first."""
_MOST_REPOSITORIES = 1000
_LARGEST_REQUEST = 256 * 1024
"""Bytes of a request above which it isn't looked at."""
_MOST_REFS = 2000
"""The refs of a repository above which only its default branch is looked for among the wants."""
_MOST_NAMED = 10
_LARGEST = 2048
"""Bytes of a request without its wants above which it is not remembered."""
_MOST_EARLY = 8
"""The fetches for tips that are not known yet of one repository that are remembered; of others nothing is noted."""
_LARGEST_EARLY = 4096
"""Bytes of such a request above which it is not remembered."""
_WHO_ASKS = (b"agent=", b"session-id=")


@dataclass(frozen=True)
class Shape:
    """A fetch without its wants.

    :param protocol: the ``Git-Protocol`` header.
    :param packets: the request without the wants.
    :param at: how many of the packets precede the wants.
    :param capabilities: what follows the first want in its line.
    :param refs: the refs whose tips are wanted; a name that ends in a slash means all refs below it.
    """

    protocol: str | None
    packets: tuple[Packet, ...] = field(repr=False)
    at: int
    capabilities: bytes
    refs: tuple[str, ...]

    def body(self, refs: Mapping[str, str]) -> bytes | None:
        """Return the request for other tips, None when there are none."""
        oids = _tips(self.refs, refs)
        if not oids:
            return None
        wants: list[Packet] = [b"want " + oid.encode() + b"\n" for oid in sorted(oids)]
        if self.capabilities:
            wants[0] = wants[0][:-1] + self.capabilities  # type: ignore[index]
        return encode_all((*self.packets[: self.at], *wants, *self.packets[self.at :]))


def _tips(names: Sequence[str], refs: Mapping[str, str]) -> set[str]:
    """Return the ids that refs have; none when one of the refs is no more."""
    if names[-1].endswith("/"):
        below = tuple(names)
        return {oid for name, oid in refs.items() if name.startswith(below)}
    oids = {refs.get(name, "") for name in names}
    return set() if "" in oids else oids


def shape_of(command: Fetch, body: bytes, protocol: str | None, state: RefState) -> Shape | None:
    """Return a fetch's shape, None when it has none.

    :param body: the request of which the command was read.
    :param state: the mirror's refs.
    """
    if not command.may_have_shape:
        return None
    refs = _refs_of(set(command.wants), state)
    if refs is None:
        return None
    shape = _without_wants(body, protocol, refs)
    return shape if len(encode_all(shape.packets)) <= _LARGEST else None


def _without_wants(body: bytes, protocol: str | None, refs: tuple[str, ...]) -> Shape:
    packets: list[Packet] = []
    at, capabilities = None, b""
    for packet in decode(body):
        if isinstance(packet, bytes) and packet.startswith(b"want "):
            if at is None:
                at, capabilities = len(packets), _after_id(packet)
        elif not (isinstance(packet, bytes) and packet.startswith(_WHO_ASKS)):
            packets.append(packet)
    return Shape(protocol, tuple(packets), at or 0, capabilities, refs)


def _after_id(want: bytes) -> bytes:
    """Return what follows the id in a want line of protocol v0, without what only tells who asks."""
    words = want.rstrip(b"\n").split(b" ")[2:]
    kept = [word for word in words if not word.startswith(_WHO_ASKS)]
    return b"".join(b" " + word for word in kept) + b"\n" if kept else b""


def _refs_of(wants: set[str], state: RefState) -> tuple[str, ...] | None:
    """Return the refs whose tips are wanted, those of whole name spaces where it is all of them."""
    refs = state.refs
    default = state.head or ""
    if len(wants) == 1 and refs.get(default) in wants:
        return (default,)
    if len(refs) > _MOST_REFS:
        return None
    if wants == _tips(MIRRORED, refs):
        return MIRRORED
    if len(wants) <= _MOST_NAMED:
        names = {oid: name for name, oid in sorted(refs.items(), reverse=True) if oid in wants}
        return tuple(sorted(names.values())) if len(names) == len(wants) else None
    return MIRRORED[:1] if wants == _tips(MIRRORED[:1], refs) else None


@dataclass
class _Known:
    shape: Shape
    wanted: str
    asked: int = 0
    before: tuple[int, ...] = ()

    def tip_moved(self, wanted: str) -> None:
        self.before = (self.asked, *self.before)[:TIPS]
        self.wanted, self.asked = wanted, 0

    @property
    def expected(self) -> bool:
        return len(self.before) == TIPS and min(self.before) >= TIMES

    @property
    def unused(self) -> bool:
        return len(self.before) == TIPS and not any(self.before)


@dataclass
class _Early:
    """A fetch that came before it was known that a ref had moved there.

    :param body: the request of which the command was read.
    :param times: how often it came.
    """

    command: Fetch
    body: bytes
    protocol: str | None
    times: int = 0


class RequestShapes:
    """The shapes in which one repository was fetched for its last tips.

    A client is answered as soon as the objects are there that it wants, which may be before the mirror's refs have
    moved to them: such a fetch is taken note of when they have.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, tuple[str, ...]], _Known] = OrderedDict()
        self._early: dict[tuple[str, str], _Early] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, command: Fetch, body: Iterable[bytes], protocol: str | None, state: Callable[[], RefState]) -> None:
        """Take note of a fetch that came.

        :param body: the request of which the command was read, in pieces.
        :param state: gives the mirror's refs; called only for a shape that is not known.
        """
        if self._is_known(command, times=1):
            return
        request = b"".join(body)
        if self._is_new(command, request, protocol, state(), times=1):
            return
        early = self._early.get((command.shape, command.wanted))
        if early is None and len(self._early) < _MOST_EARLY and len(request) <= _LARGEST_EARLY:
            early = self._early[command.shape, command.wanted] = _Early(command, request, protocol)
        if early is not None:
            early.times += 1

    def _is_known(self, command: Fetch, *, times: int) -> bool:
        """Count a fetch whose shape has come for the same tips, and say whether it has."""
        for key, known in self._known.items():
            if key[0] == command.shape and known.wanted == command.wanted:
                known.asked += times
                self._known.move_to_end(key)
                return True
        return False

    def _is_new(self, command: Fetch, body: bytes, protocol: str | None, state: RefState, *, times: int) -> bool:
        """Remember a fetch for the tips if its shape is not known yet, and say whether it isn't."""
        shape = shape_of(command, body, protocol, state)
        if shape is None or (command.shape, shape.refs) in self._known:
            return False
        self._known[command.shape, shape.refs] = _Known(shape, command.wanted, asked=times)
        if len(self._known) > _MOST_SHAPES:
            self._known.popitem(last=False)
        return True

    def moved(self, state: RefState) -> list[Shape]:
        """Take note of where the refs are now.

        :return: the shapes that came often enough for each of the last tips, those first that came most.
        """
        expected = self._expected(state.refs)
        early, self._early = self._early, {}
        for one in early.values():
            if not self._is_known(one.command, times=one.times):
                self._is_new(one.command, one.body, one.protocol, state, times=one.times)
        return expected

    def _expected(self, refs: Mapping[str, str]) -> list[Shape]:
        expected = []
        for key, known in list(self._known.items()):
            oids = _tips(known.shape.refs, refs)
            wanted = Oids(sorted(oids)).digest()
            if not oids:
                del self._known[key]
            elif wanted != known.wanted:
                known.tip_moved(wanted)
                if known.unused:
                    del self._known[key]
                elif known.expected:
                    expected.append(known)
        return [known.shape for known in sorted(expected, key=lambda one: -sum(one.before))]


class AskedShapes:
    """The shapes in which repositories are fetched; of those that nobody has fetched for longest, none.

    :param forgotten: told of each repository of which nothing is known any more.
    """

    def __init__(self, *, forgotten: Callable[[str], object]) -> None:
        self._forgotten = forgotten
        self._repositories: OrderedDict[str, tuple[Instance, RequestShapes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._repositories)

    def asked(self, mirror: Mirror, command: Fetch, body: Body, protocol: str | None) -> None:
        """Take note of a fetch that a client sends.

        :param body: the request, of which the command was read.
        :param protocol: the ``Git-Protocol`` header.
        """
        if body.size <= _LARGEST_REQUEST and command.may_have_shape:
            self._begun(mirror).note(command, body.pieces(), protocol, lambda: mirror.refs.state)

    def _begun(self, mirror: Mirror) -> RequestShapes:
        name, instance = mirror.identity.name, mirror.life.instance
        known = self._repositories.get(name)
        if known is None or known[0] != instance:
            self._drop(name)
            known = self._repositories[name] = instance, RequestShapes()
            if len(self._repositories) > _MOST_REPOSITORIES:
                self._drop(next(iter(self._repositories)))
        self._repositories.move_to_end(name)
        return known[1]

    def of(self, instance: Instance) -> RequestShapes | None:
        """Return an instance's, None when there are none; those of another one of its name are forgotten."""
        known = self._repositories.get(instance.identity.name)
        if known is not None and known[0] != instance:
            self._drop(instance.identity.name)
            return None
        return None if known is None else known[1]

    def forget(self, instance: Instance) -> None:
        """Forget what is known of an instance that has ended."""
        known = self._repositories.get(instance.identity.name)
        if known is not None and known[0] == instance:
            self._drop(instance.identity.name)

    def _drop(self, name: str) -> None:
        if self._repositories.pop(name, None) is not None:
            self._forgotten(name)
