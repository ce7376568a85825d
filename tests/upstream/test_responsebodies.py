"""Bodies to and from an upstream, without connections."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cachew.plumbing.streams import BytesSource, PushSource, Source
from cachew.upstream.responsebodies import SourceBody, Watch
from tests.fakes.settled import failure_of, value_of


class Consumer:
    """A connection that takes what is sent."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.taken.append(data)


class World:
    """A watch and its clock, and a body that is sent under it."""

    def __init__(self, source: Source) -> None:
        self.clock, self.expired, self.consumer = Clock(), list[bool](), Consumer()
        self.watch = Watch(reactor=self.clock, seconds=10, expired=lambda: self.expired.append(True))
        self.body = SourceBody(source=source, length=None, watch=self.watch)

    def send(self) -> Deferred[None]:
        consumer: Any = self.consumer
        return self.body.startProducing(consumer)


def test_a_watch_that_is_wound_up_in_time_does_not_expire() -> None:
    """Once it isn't it does, once and for good."""
    world = World(BytesSource(b""))
    for _ in range(5):
        world.watch.restart()
        world.clock.advance(9)
    assert not world.expired and not world.watch.has_expired
    world.clock.advance(1)
    world.watch.restart()
    world.clock.advance(100)
    assert world.expired == [True] and world.watch.has_expired and not world.clock.getDelayedCalls()


def test_a_stopped_watch_starts_over_and_a_closed_one_does_not() -> None:
    """Neither leaves a timer."""
    world = World(BytesSource(b""))
    world.watch.restart()
    world.watch.stop()
    world.watch.stop()
    assert not world.clock.getDelayedCalls()
    world.watch.restart()
    assert len(world.clock.getDelayedCalls()) == 1
    world.watch.close()
    world.watch.restart()
    assert not world.clock.getDelayedCalls() and not world.expired


def test_a_body_is_sent_whole_and_its_source_closed() -> None:
    """Time that the source takes is not the upstream's."""
    source = PushSource()
    world = World(source)
    sent = world.send()
    world.clock.advance(1000)
    source.data(b"one")
    assert world.consumer.taken == [b"one"] and not sent.called
    source.finish()
    value_of(sent)
    assert source.closed and not world.expired
    world.watch.close()


def test_an_upstream_that_is_full_is_waited_for() -> None:
    """Nothing more is read for it, and its time counts."""
    source = PushSource()
    world = World(source)
    sent = world.send()
    world.body.pauseProducing()
    source.data(b"one")
    source.data(b"two")
    assert len(world.consumer.taken) == 1
    world.clock.advance(10)
    assert world.expired == [True]
    world.body.resumeProducing()
    source.finish()
    value_of(sent)
    assert b"".join(world.consumer.taken) == b"onetwo"


def test_a_source_that_fails_fails_the_sending() -> None:
    """For its reason."""
    source = PushSource()
    world = World(source)
    sent = world.send()
    source.fail(OSError("disk"))
    assert isinstance(failure_of(sent), OSError) and source.closed
    world.watch.close()


@pytest.mark.parametrize("full", [True, False])
def test_a_connection_that_is_gone_ends_the_sending(full: bool) -> None:
    """Nobody is told anything any more, and nothing stays open."""
    source = PushSource()
    world = World(source)
    sent = world.send()
    if full:
        world.body.pauseProducing()
        source.data(b"one")
    world.body.stopProducing()
    assert source.closed and not sent.called
    world.watch.close()
