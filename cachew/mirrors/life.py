"""What becomes of one mirror: its state, whose mirror it is, and whether requests may be answered from it."""

import uuid
from collections.abc import Callable

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.instances import Instances
from cachew.mirrors.machine import MirrorEvent, MirrorState, step


class MirrorLife:
    """The life of one mirror, which all its parts share.

    :param identity: the repository.
    :param standing: knows its present instance.
    :param on_changed: told when what people see of the mirror has changed.
    :ivar instance: whose mirror it is; nobody's while it is empty.
    :ivar generation: its name among all mirrors that the instance has had: what a damaged one gave is not served again.
    :ivar last_fetch: when something was fetched last, in epoch seconds.
    :ivar last_error: why the last fetch failed, if it did.
    :ivar comparing: whether it is being found out if what has come is of the same repository.
    """

    def __init__(self, *, identity: Identity, standing: Instances, on_changed: Callable[[Identity], object]) -> None:
        self.identity = identity
        self._standing = standing
        self._on_changed = on_changed
        self.state = MirrorState.EMPTY
        self.instance = Instance(identity, "")
        self.generation = uuid.uuid4().hex
        self.last_fetch: float | None = None
        self.last_error: str | None = None
        self.comparing = False
        self._in_doubt = False
        self._ended = False

    @property
    def ready(self) -> bool:
        """Whether requests may be answered from it."""
        return self.sound and not self._ended and self._standing.is_current(self.instance)

    @property
    def sound(self) -> bool:
        """Whether there is one that nobody doubts."""
        # Asked of thousands of mirrors at a time, and to look into a set of such states takes long.
        return (self.state is MirrorState.READY or self.state is MirrorState.FETCHING) and not self._in_doubt

    @property
    def in_doubt(self) -> bool:
        """Whether it may be damaged, so that nothing is served until that is found out."""
        return self._in_doubt

    @in_doubt.setter
    def in_doubt(self, value: bool) -> None:
        self._in_doubt = value
        self.changed()

    @property
    def ended(self) -> bool:
        """Whether its instance has ended."""
        return self._ended

    @property
    def condition(self) -> str:
        """What people are told of its state."""
        return "suspect" if self._in_doubt else self.state.value

    @property
    def pack_source(self) -> str:
        """What its packs are kept under; what comes while it is in doubt is never mixed with what came before."""
        return f"{self.generation} in doubt" if self._in_doubt else self.generation

    def step(self, event: MirrorEvent) -> None:
        """Take note of what happens to it.

        :raise ImpossibleTransition: when that can't happen now.
        """
        self.state = step(self.state, event)
        self.changed()

    def changed(self) -> None:
        """Tell that what people see of it has changed."""
        self._on_changed(self.identity)

    def renew(self) -> None:
        """Be another mirror of the same instance from now on."""
        self.generation = uuid.uuid4().hex

    def leave(self) -> None:
        """Be nobody's mirror: what is read in its directory from now on is perhaps another instance's."""
        self.instance = Instance(self.identity, "")
        self.renew()

    def end(self) -> None:
        """Serve nothing any more: its instance has ended."""
        self._ended = True
