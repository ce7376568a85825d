"""What a child reads, without a child."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.childinput import ChildInput
from cachew.plumbing.streams import BytesSource, PushSource, Source
from tests.fakes.settled import failure_of, value_of


class Stdin:
    """A child's standard input, as Twisted's transport is used; it takes so many writes before it is full."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.taken: list[bytes] = []
        self.producer: ChildInput | None = None
        self.closed = False

    def registerProducer(self, producer: ChildInput, streaming: bool) -> None:
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.taken.append(data)
        if len(self.taken) >= self.room:
            assert self.producer is not None
            self.producer.pauseProducing()

    def closeStdin(self) -> None:
        self.closed = True

    @property
    def over(self) -> bool:
        return self.closed and self.producer is None


def copying(source: Source, stdin: Stdin) -> Deferred[None]:
    return Deferred.fromCoroutine(ChildInput(source, stdin).run())


def test_all_is_copied_then_the_input_is_closed() -> None:
    """The child sees its end; an empty source closes it at once."""
    for data in (b"text", b""):
        stdin = Stdin()
        value_of(copying(BytesSource(data), stdin))
        assert b"".join(stdin.taken) == data and stdin.over


def test_a_child_that_is_full_is_waited_for() -> None:
    """Nothing more is read for it meanwhile, however often it says so."""
    source, stdin = PushSource(), Stdin(room=1)
    source.data(b"one")
    source.data(b"two")
    copied = copying(source, stdin)
    assert stdin.taken == [b"one"] and stdin.producer is not None
    stdin.producer.pauseProducing()
    assert not copied.called
    stdin.producer.resumeProducing()
    assert stdin.taken == [b"one", b"two"]
    source.finish()
    stdin.producer.resumeProducing()
    value_of(copied)
    assert stdin.over


@pytest.mark.parametrize("full", [True, False])
def test_a_child_that_reads_no_more_ends_the_copying(full: bool) -> None:
    """Well, for what it has not read is nothing to it; the source is closed."""
    source, stdin = PushSource(), Stdin(room=1 if full else 1000)
    source.data(b"one")
    copied = copying(source, stdin)
    assert stdin.producer is not None
    stdin.producer.stopProducing()
    value_of(copied)
    assert source.closed and stdin.over


def test_a_source_that_fails_fails_the_copying() -> None:
    """After what it gave before; the child is not left to wait."""
    source, stdin = PushSource(), Stdin()
    source.data(b"one")
    source.fail(OSError("disk"))
    assert isinstance(failure_of(copying(source, stdin)), OSError)
    assert stdin.taken == [b"one"] and source.closed and stdin.over


@pytest.mark.parametrize("full", [True, False])
def test_who_gives_it_up_leaves_nothing_open(full: bool) -> None:
    """Whether the child or the source was waited for."""
    source, stdin = PushSource(), Stdin(room=1 if full else 1000)
    source.data(b"one")
    copied = copying(source, stdin)
    copied.cancel()
    assert isinstance(failure_of(copied), CancelledError)
    assert source.closed and stdin.over
