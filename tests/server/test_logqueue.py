"""The log's way to its file holds nobody up."""

import os
import threading
from collections.abc import Iterator

import pytest

from cachew.server.logqueue import LogQueue, descriptor_writer

PATIENCE = 20


class Sink:
    """Takes what is written, unless it hangs or fails."""

    def __init__(self) -> None:
        self.written = b""
        self.go_on, self.reached = threading.Event(), threading.Event()
        self.go_on.set()
        self.failing = False

    def write(self, data: bytes) -> None:
        """Take it."""
        self.reached.set()
        self.go_on.wait(PATIENCE)
        if self.failing:
            raise OSError("no space left")
        self.written += data


def queue_of(sink: Sink, limit: int = 1000) -> LogQueue:
    return LogQueue(sink.write, notice=lambda count: f"{count} dropped\n", limit=limit)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Return a sink whose hanging ends with the test."""
    sink = Sink()
    yield sink
    sink.go_on.set()


def hung(sink: Sink, queue: LogQueue) -> None:
    """Have the sink hang in the midst of a line."""
    sink.go_on.clear()
    queue.start()
    queue.write("first\n")
    assert sink.reached.wait(PATIENCE)


def test_before_its_thread_it_writes_by_itself(sink: Sink) -> None:
    """What is logged before the process has gone to the background is written at once."""
    queue = queue_of(sink)
    queue.write("early\n")
    assert sink.written == b"early\n" and queue.drain(0)


def test_a_sink_that_hangs_holds_nobody_up(sink: Sink) -> None:
    """What waits is written in its order when the sink goes on; what was too much is counted, there and in the log."""
    queue = queue_of(sink)
    hung(sink, queue)
    for number in range(300):
        queue.write(f"{number:08d}\n")
    assert 180 < queue.dropped < 200
    assert not queue.drain(0.01)
    sink.go_on.set()
    assert queue.drain(PATIENCE)
    *lines, last = sink.written.decode().splitlines()
    assert lines == ["first", *(f"{number:08d}" for number in range(300 - queue.dropped))]
    assert last == f"{queue.dropped} dropped"


def test_the_log_says_where_lines_are_missing(sink: Sink) -> None:
    """The count of what was dropped stands between what came before and what comes after."""
    queue = queue_of(sink, limit=40)
    hung(sink, queue)
    queue.write("x" * 20 + "\n")
    queue.write("y" * 20 + "\n")
    queue.write("z\n")
    sink.go_on.set()
    assert queue.drain(PATIENCE)
    assert sink.written.decode().splitlines() == ["first", "x" * 20, "1 dropped", "z"]


def test_a_sink_that_fails_is_tried_again(sink: Sink) -> None:
    """A full disk or a broken pipe costs lines, not the log; they are counted."""
    queue = queue_of(sink)
    queue.start()
    sink.failing = True
    queue.write("one\n")
    queue.write("two\n")
    assert queue.drain(PATIENCE)
    sink.failing = False
    queue.write("three\n")
    assert queue.drain(PATIENCE)
    assert (sink.written, queue.dropped) == (b"three\n", 2)


def test_a_call_comes_between_lines(sink: Sink) -> None:
    """A file is opened anew after what was logged before, and not by whoever asks for it."""
    queue = queue_of(sink)
    hung(sink, queue)
    seen: list[tuple[bytes, str]] = []
    queue.call(lambda: seen.append((sink.written, threading.current_thread().name)))
    queue.write("after\n")
    assert seen == []
    sink.go_on.set()
    assert queue.drain(PATIENCE)
    assert seen == [(b"first\n", "log")] and sink.written == b"first\nafter\n"


def test_text_that_is_no_utf_8_is_written_all_the_same(sink: Sink) -> None:
    """Half a character of a stranger's, as names of refs may hold, costs no line."""
    queue = queue_of(sink)
    queue.write("a\udcff\n")
    assert sink.written == b"a\\udcff\n"


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_takes_everything_in_the_end(blocking: bool) -> None:
    """A pipe is written to its end though it takes little at a time, whether it blocks or not."""
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    data, found = os.urandom(500_000), bytearray()

    def read() -> None:
        while piece := os.read(reading, 4096):
            found.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    descriptor_writer(writing)(data)
    os.close(writing)
    reader.join(PATIENCE)
    os.close(reading)
    assert bytes(found) == data
