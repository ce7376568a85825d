"""What a child writes, without a child: when it is read, taken by somebody else, and given up for its silence."""

import os
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.childoutput import ChildOutput
from cachew.plumbing.errors import ProcessTimedOut
from cachew.plumbing.streams import PIECE
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of

SILENCE = 10.0


class Pipe:
    """One end of a pipe, as Twisted's reader is used."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.reads = True

    def fileno(self) -> int:
        return self._descriptor

    def stopReading(self) -> None:
        self.reads = False

    def startReading(self) -> None:
        self.reads = True


class World:
    """A child's output with its clock, and what became of the child."""

    def __init__(self, silence: float | None) -> None:
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK)
        self.clock, self.pipe = FakeClock(), Pipe(self.reading)
        self.given_up: list[Exception] = []
        self.stopped: list[bool] = []
        self.output = ChildOutput(
            reactor=self.clock,
            name="git upload-pack",
            silence=silence,
            break_off=self.given_up.append,
            stop=lambda: self.stopped.append(True),
        )
        self.output.attach({1: self.pipe})

    def take(self, pipe: int) -> int:
        return len(os.read(pipe, PIECE))

    def close(self) -> None:
        self.output.close()
        assert not self.clock.getDelayedCalls()
        for descriptor in (self.reading, self.writing):
            os.close(descriptor)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(SILENCE)
    yield world
    world.close()


def test_a_child_that_is_silent_is_given_up(world: World) -> None:
    """As long after its last word as it may be, and with words that say so."""
    world.clock.advance(SILENCE - 1)
    world.output.received(b"a packet")
    world.clock.advance(SILENCE - 1)
    assert not world.given_up
    world.clock.advance(1)
    (failure,) = world.given_up
    assert isinstance(failure, ProcessTimedOut) and "gave nothing for 10 seconds" in str(failure)


def test_keep_alives_are_silence(world: World) -> None:
    """The one who sends them waits himself; they are read all the same."""
    for _ in range(10):
        world.clock.advance(1)
        world.output.received(b"0005\1")
    assert len(world.given_up) == 1
    assert value_of(Deferred.fromCoroutine(world.output.source.read(PIECE))) == b"0005\1"


def test_without_a_bound_it_may_be_silent_for_ever() -> None:
    """Nothing is waiting for its time then."""
    world = World(None)
    world.clock.advance(1e6)
    assert not world.given_up
    world.close()


def test_a_slow_reader_is_no_silence_of_the_childs(world: World) -> None:
    """Nothing more is read until he has caught up; from then on time counts again."""
    world.output.received(bytes(3 * PIECE))
    assert not world.pipe.reads
    world.clock.advance(10 * SILENCE)
    assert not world.given_up
    while not world.pipe.reads:
        value_of(Deferred.fromCoroutine(world.output.source.read(PIECE)))
    world.clock.advance(SILENCE)
    assert len(world.given_up) == 1


def test_a_reader_that_leaves_ends_the_child(world: World) -> None:
    """Nobody wants what it writes."""
    world.output.source.close()
    assert world.stopped == [True]


def test_what_comes_after_the_end_is_for_nobody(world: World) -> None:
    """And nobody waits for more of it."""
    world.output.close()
    world.output.received(bytes(1000))
    world.output.source.finish()
    assert value_of(Deferred.fromCoroutine(world.output.source.read(PIECE))) == b""
    world.clock.advance(10 * SILENCE)
    assert not world.given_up


def test_whoever_takes_the_output_gets_first_what_was_read(world: World) -> None:
    """Then what is in the pipe, until it is empty."""
    world.output.received(b"first ")
    assert not world.output.diverted
    assert world.output.divert(world.take) == b"first "
    assert world.output.diverted
    os.write(world.writing, b"second")
    with pytest.raises(BlockingIOError):
        world.output.take(world.reading)
    with pytest.raises(BlockingIOError):
        os.read(world.reading, 1)


def test_after_much_the_pipe_is_left_to_fill_for_a_moment(world: World) -> None:
    """Then it is taken from and read again, whatever has come."""
    world.output.divert(world.take)
    os.write(world.writing, bytes(64 * 1024))
    assert world.output.take(world.reading) == 64 * 1024 and not world.pipe.reads
    os.write(world.writing, b"more")
    world.clock.advance(0.01)
    assert world.pipe.reads
    with pytest.raises(BlockingIOError):
        os.read(world.reading, 1)


def test_time_counts_for_whoever_takes_the_output_too(world: World) -> None:
    """From what is more than a keep-alive."""
    world.output.divert(world.take)
    given_up = []
    for data in (bytes(100), b"0005\1", bytes(100)):
        world.clock.advance(SILENCE - 1)
        given_up.append(len(world.given_up))
        os.write(world.writing, data)
        with pytest.raises(BlockingIOError):
            world.output.take(world.reading)
    assert given_up == [0, 0, 1]


def test_the_pipes_end_is_told(world: World) -> None:
    """As no bytes."""
    world.output.divert(lambda pipe: 0)
    assert world.output.take(world.reading) == 0


def test_whoever_fails_to_take_ends_the_child(world: World) -> None:
    """For his reason; that is not the pipe's end, which is still to come."""
    full = OSError("No space left")

    def fail(pipe: int) -> int:
        raise full

    world.output.divert(fail)
    assert world.output.take(world.reading) > 0 and world.given_up == [full]


def test_nothing_is_taken_any_more_once_it_is_closed(world: World) -> None:
    """Also when it was left to fill just then."""
    world.output.divert(world.take)
    os.write(world.writing, bytes(64 * 1024))
    world.output.take(world.reading)
    world.output.close()
    assert not world.clock.getDelayedCalls() and not world.output.diverted
