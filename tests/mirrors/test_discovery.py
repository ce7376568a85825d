"""How the mirrors on disk are taken up at the start."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.mirrors.discovery import Discovery
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirrorrecord import MirrorRecord


class Threads:
    """Runs nothing before it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Note what is to be run."""
        done: Deferred[Any] = Deferred()
        self.waiting.append(lambda: done.callback(function(*args)))
        return done


class OnDisk:
    """A root with mirrors, that is the collection of them as well."""

    def __init__(self, count: int) -> None:
        self.identities = [Identity("git.example", f"r{number}") for number in range(count)]
        self.made: list[Identity] = []
        self.adopted: list[Identity] = []

    def scan(self) -> dict[Identity, MirrorRecord]:
        """Return all of them."""
        return {one: MirrorRecord(one, "sha1", "instance", "generation") for one in self.identities}

    def new(self, identity: Identity) -> "Found":
        """Make one."""
        self.made.append(identity)
        return Found(identity)

    def adopt(self, mirror: "Found") -> None:
        """Take one."""
        self.adopted.append(mirror.identity)

    def count(self) -> None:
        """Count nothing."""


class Found:
    """A mirror."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def look(self, record: MirrorRecord) -> MirrorRecord:
        """See what is there."""
        return record

    async def take_up(self, found: MirrorRecord) -> None:
        """Serve it."""


def test_some_are_looked_at_while_others_are_put_together() -> None:
    """A thread and the reactor are never both idle; at the end all are there, each once."""
    threads, disk = Threads(), OnDisk(175)
    discovery = Discovery(mirrors=cast(Any, disk), root=cast(Any, disk), threads=cast(Any, threads))
    found = Deferred.fromCoroutine(discovery.discover())
    threads.waiting.pop(0)()
    assert (len(threads.waiting), len(disk.made), len(disk.adopted)) == (2, 100, 0)
    threads.waiting.pop(0)()
    assert (len(threads.waiting), len(disk.made), len(disk.adopted)) == (2, 150, 50)
    while threads.waiting:
        threads.waiting.pop(0)()
    assert found.called and discovery.done
    assert sorted(disk.adopted) == sorted(disk.identities)
