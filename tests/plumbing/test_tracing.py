"""What is done for a request is part of its span, whoever does it."""

from collections.abc import Mapping
from typing import Any, cast

import obstore
import pytest
from obstore.store import MemoryStore
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from cachew.plumbing import tracing
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.tracing import Fact, Span
from tests.fakes.inlinethreads import InlineThreads


class Recorded:
    """A span that tells of its end."""

    def __init__(self, name: str = "request", record: list[str] | None = None) -> None:
        self.name = name
        self.record: list[str] = [] if record is None else record

    def begin(self, name: str, *, leaves: bool, facts: Mapping[str, Fact]) -> Span:
        self.record.append(f"{'>' if leaves else ''}{name}")
        return Recorded(name, self.record)

    def headers(self) -> Mapping[str, str]:
        return {"traceparent": self.name}

    def end(self, *, failed: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        self.record.append(f"{self.name} ended{f': {failed}' if failed else ''}")


def test_a_block_is_a_part_of_the_current_span() -> None:
    """Its end is told, its failure too, and where there is no span nothing happens."""
    with tracing.spanning("alone"):
        pass
    assert tracing.current().headers() == {}
    request = Recorded()

    async def work() -> None:
        tracing.enter(request)
        with tracing.spanning("store get", leaves=True):
            await succeed(None)
        with pytest.raises(KeyError), tracing.spanning("git fetch"):
            raise KeyError
        assert tracing.current() is request

    ended: list[object] = []
    Deferred.fromCoroutine(work()).addBoth(ended.append)
    assert ended == [None] or (isinstance(ended[0], Failure) and ended[0].raiseException())
    assert request.record == [">store get", "store get ended", "git fetch", "git fetch ended: KeyError"]


def test_calls_to_a_store_are_parts() -> None:
    """Each is named after what is called; one that finds nothing has failed."""
    request, bucket = Recorded(), Bucket(store=MemoryStore(), threads=cast(Any, InlineThreads()))

    async def work() -> None:
        tracing.enter(request)
        await bucket.call(obstore.put, bucket._store, "a", b"1")
        with pytest.raises(FileNotFoundError):
            await bucket.call(obstore.get, bucket._store, "b")

    ended: list[object] = []
    Deferred.fromCoroutine(work()).addBoth(ended.append)
    assert ended == [None], ended
    assert request.record == [
        ">store put", "store put ended", ">store get", "store get ended: FileNotFoundError",
    ]  # fmt: skip
