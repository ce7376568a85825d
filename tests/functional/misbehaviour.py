"""The ways in which a real upstream lets its clients down, on demand."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from tests.functional.exchanges import Exchange


@dataclass(frozen=True)
class Delay:
    """Wait before going on as usual.

    :param seconds: how long.
    """

    seconds: float


@dataclass(eq=False)
class Hold:
    """Wait until the test says so, then go on as usual."""

    released: bool = False
    _waiting: list[Deferred[None]] = field(default_factory=list)

    def release(self) -> None:
        """Let everyone who waits, and all who come later, go on."""
        self.released = True
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def wait(self) -> None:
        """Wait for the release."""
        if not self.released:
            deferred: Deferred[None] = Deferred(lambda one: self._waiting.remove(one))
            self._waiting.append(deferred)
            await deferred


@dataclass(frozen=True)
class Hang:
    """Accept the request and never answer it."""


@dataclass(frozen=True)
class Cut:
    """Answer as usual, but close the connection in the middle.

    :param after: bytes of the body that are still sent; with 0 nothing at all is sent.
    """

    after: int


@dataclass(eq=False)
class Stall:
    """Answer as usual, but fall silent in the middle.

    :param after: bytes of the body that are still sent.
    """

    after: int
    reached: Deferred[None] = field(default_factory=Deferred)

    def reach(self) -> None:
        """Note that somebody has been left waiting."""
        if not self.reached.called:
            self.reached.callback(None)


@dataclass(frozen=True)
class Refuse:
    """Answer with a status of one's own: 429 with ``Retry-After``, 500, 503, 404, a redirect …

    :param status: the status.
    :param headers: pairs of names and values.
    :param body: the text.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"refused by the test\n"


def redirect(location: str, status: int = 301) -> Refuse:
    """Return the misbehaviour that sends the client elsewhere."""
    return Refuse(status, (("Location", location),), b"")


Misbehaviour = Delay | Hold | Hang | Cut | Stall | Refuse


@dataclass(eq=False)
class Rule:
    """When to misbehave, and how.

    :param kind: the kind of request, None for any.
    :param repository: the repository, None for any.
    :param times: how often, None for ever.
    """

    behaviour: Misbehaviour
    kind: str | None = None
    repository: str | None = None
    times: int | None = None

    def applies(self, exchange: Exchange) -> bool:
        """Say whether a request is meant."""
        return self.times != 0 and self.kind in (None, exchange.kind) and self.repository in (None, exchange.repository)


class Rules:
    """The rules in force, oldest first."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Put a rule in force."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Behave again. Requests that hang or are held go on doing so."""
        self._rules.clear()

    def take(self, exchange: Exchange) -> Iterator[Misbehaviour]:
        """Yield what is to be done to a request, and count it."""
        for rule in self._rules:
            if rule.applies(exchange):
                if rule.times is not None:
                    rule.times -= 1
                yield rule.behaviour
