"""Archives written by several threads."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from cachew.plumbing import tarzst
from cachew.plumbing.framewriter import FrameWriter


class Hold:
    """Threads whose results come when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[Deferred[None]] = []

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        job: Deferred[None] = Deferred()
        self.jobs.append(job)
        await job
        return function(*args)


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """A thread that needs no time."""
    return function(*args)


class Output:
    """Where an archive goes."""

    def __init__(self) -> None:
        self.data = b""

    async def __call__(self, data: bytes) -> None:
        self.data += data

    def frames(self) -> list[bytes]:
        """Return the content of each frame."""
        length = tarzst.table_length(self.data)
        assert length is not None
        table = tarzst.decode_table(self.data[-length:])
        return [tarzst.decompress(self.data[f.offset : f.offset + f.length], f.size) for f in table]


def run(coroutine: Any) -> Deferred[Any]:
    """Start a coroutine."""
    return Deferred.fromCoroutine(coroutine)


def result(deferred: Deferred[Any]) -> Any:
    """Return what a finished Deferred has."""
    results: list[Any] = []
    deferred.addCallback(results.append)
    return results[0]


def test_bytes_are_collected_into_full_frames() -> None:
    """However they are written, frames are full except before segments and at the end."""
    output = Output()
    writer = FrameWriter(sink=output, threads=at_once, frame_size=10)

    async def write() -> None:
        await writer.write(b"abcdefg")
        await writer.write(b"hijklmnopqrstuvwxyz")
        await writer.add([b"PACK", b"ED"], 1)
        await writer.write(b"end")
        await writer.finish()

    result(run(write()))
    assert output.frames() == [b"abcdefghij", b"klmnopqrst", b"uvwxyz", b"PACKED", b"end"]


def test_frames_are_written_in_order_whichever_is_ready_first() -> None:
    """Of two frames under way the second waits for the first."""
    output, threads = Output(), Hold()
    writer = FrameWriter(sink=output, threads=threads, frame_size=4)
    run(writer.write(b"11112222"))
    done = run(writer.finish())
    threads.jobs[1].callback(None)
    assert output.data == b""
    threads.jobs[0].callback(None)
    result(done)
    assert output.frames() == [b"1111", b"2222"]


def test_no_more_frames_are_under_way_than_may_be() -> None:
    """The writer of a third frame waits until the first is through."""
    threads = Hold()
    writer = FrameWriter(sink=Output(), threads=threads, parallel=2, frame_size=4)
    writing = run(writer.write(b"111122223333"))
    assert len(threads.jobs) == 2
    assert not writing.called
    threads.jobs[0].callback(None)
    assert writing.called
    writer.abandon()


def test_a_slow_sink_slows_the_writer() -> None:
    """Nothing more is compressed while the sink takes what there is."""
    gate: Deferred[None] = Deferred()
    threads = Hold()
    writer = FrameWriter(sink=lambda data: gate, threads=threads, parallel=2, frame_size=4)
    writing = run(writer.write(b"111122223333"))
    threads.jobs[0].callback(None)
    assert not writing.called
    gate.callback(None)
    assert writing.called
    writer.abandon()


def test_a_failing_frame_fails_the_writer() -> None:
    """What went wrong in a thread is raised where the archive is written, and abandoning the rest is quiet."""
    threads = Hold()
    writer = FrameWriter(sink=Output(), threads=threads, frame_size=4)
    writing = run(writer.write(b"11112222"))
    assert writing.called
    finishing = run(writer.finish())
    threads.jobs[0].errback(EOFError("shrank"))
    failures: list[Any] = []
    finishing.addErrback(failures.append)
    assert failures[0].check(EOFError)
    writer.abandon()


def test_an_abandoned_writer_leaves_nothing_waiting() -> None:
    """Abandoning cancels what is under way."""
    threads = Hold()
    writer = FrameWriter(sink=lambda data: succeed(None), threads=threads, frame_size=4)
    run(writer.write(b"1111"))
    writer.abandon()
    assert threads.jobs[0].called


@pytest.mark.parametrize("count", [0, 1])
def test_an_archive_of_nothing_is_a_table(count: int) -> None:
    """An archive without content still ends with its table."""
    output = Output()
    writer = FrameWriter(sink=output, threads=at_once)

    async def write() -> None:
        for _ in range(count):
            await writer.add([], 1)
        await writer.finish()

    result(run(write()))
    assert output.frames() == []
