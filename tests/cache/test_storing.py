"""Storing what is sent to clients at the same time: whatever the cache does, they notice nothing before the end."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.storing import Storing
from cachew.plumbing.errors import StorageFull, TooLarge
from tests.fakes.settled import failure_of, value_of


class FailingWriter:
    """A writer that fails at one of its methods.

    :param at: which.
    """

    def __init__(self, at: str = "", failure: Exception | None = None) -> None:
        self._at, self._failure = at, failure or StorageFull("the disk is full")
        self.called: list[str] = []

    def _call(self, name: str) -> None:
        self.called.append(name)
        if name == self._at:
            raise self._failure

    async def write(self, data: bytes) -> None:
        self._call("write")

    async def commit(self) -> None:
        self._call("commit")

    async def abort(self) -> None:
        self._call("abort")

    async def created(self) -> Any:
        """Return it, as a cache does."""
        self._call("create")
        return self


def run(work: Any) -> Deferred[Any]:
    """Run a step."""
    return Deferred.fromCoroutine(work)


def store(writer: FailingWriter) -> tuple[Storing, Deferred[Any]]:
    """Store two pieces; neither fails, whatever the writer does."""
    storing = Storing()
    value_of(run(storing.begin(writer.created())))
    for _ in range(2):
        value_of(run(storing.write(b"data")))
    return storing, run(storing.commit())


def test_what_goes_well_is_stored() -> None:
    """Both pieces, then the commit; an abort after it is harmless."""
    writer = FailingWriter()
    storing, committed = store(writer)
    value_of(committed)
    value_of(run(storing.abort()))
    assert writer.called == ["create", "write", "write", "commit", "abort"]


@pytest.mark.parametrize(
    ("at", "called"),
    [("create", ["create"]), ("write", ["create", "write"]), ("commit", ["create", "write", "write", "commit"])],
)
@pytest.mark.parametrize("failure", [StorageFull("full"), TooLarge(10, "object")])
def test_a_failure_is_told_at_the_end(at: str, called: list[str], failure: Exception) -> None:
    """Once, as it was; nothing more is written after it."""
    writer = FailingWriter(at, failure)
    storing, committed = store(writer)
    assert failure_of(committed) is failure
    assert writer.called == called
    value_of(run(storing.abort()))


@pytest.mark.parametrize("at", ["create", "write"])
def test_what_is_no_failure_of_the_cache_is_told_at_once(at: str) -> None:
    """A client that leaves, or a fault of ours, is not kept for later."""
    writer = FailingWriter(at, CancelledError())
    storing = Storing()
    begun = run(storing.begin(writer.created()))
    written = begun if at == "create" else run(storing.write(b"data"))
    assert isinstance(failure_of(written), CancelledError)


def test_what_was_never_begun_is_nothing() -> None:
    """Neither its end nor its abort does anything."""
    storing = Storing()
    value_of(run(storing.write(b"data")))
    value_of(run(storing.commit()))
    value_of(run(storing.abort()))
