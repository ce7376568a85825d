"""Regions of files reach sockets whole, in turns, and nothing is left open however a transfer ends."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from cachew.http.filesender import FileSender, RegionTransfer
from cachew.plumbing.regions import MemoryRegion, Region

pytestmark = pytest.mark.timeout(30)
MIB = 1024 * 1024
Pair = tuple[socket.socket, socket.socket]


@pytest_twisted.async_yield_fixture
async def sender() -> AsyncIterator[FileSender]:
    """A running sender with one thread."""
    from twisted.internet import reactor

    sender = FileSender(reactor=reactor, threads=1)
    await sender.start()
    yield sender
    await sender.stop()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets: ours does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An open file of 8 MiB."""
    (tmp_path / "file").write_bytes(os.urandom(MIB) * 8)
    descriptor = os.open(tmp_path / "file", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def receive(theirs: socket.socket, count: int) -> Deferred[bytes]:
    """Receive so many bytes in a thread."""
    return deferToThread(theirs.recv, count, socket.MSG_WAITALL)


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@pytest_twisted.ensureDeferred
async def test_whole(sender: FileSender, pair: Pair, file: int) -> None:
    """A region arrives with what goes before and after it, though all descriptors but the socket's are closed."""
    ours, theirs = pair
    copy, before = os.dup(file), open_descriptors()
    sent = sender.send(RegionTransfer(ours.fileno(), Region(copy, 5, 7 * MIB), before=b"<<", after=b">>"))
    os.close(copy)
    assert await receive(theirs, 7 * MIB + 4) == b"<<" + os.pread(file, 7 * MIB, 5) + b">>"
    await sent
    assert open_descriptors() == before - 1


@pytest_twisted.ensureDeferred
async def test_out_of_memory(sender: FileSender, pair: Pair) -> None:
    """A region of memory arrives like one of a file."""
    ours, theirs = pair
    data, before = os.urandom(MIB) * 8, open_descriptors()
    region = MemoryRegion(memoryview(data)[5 : 7 * MIB])
    sent = sender.send(RegionTransfer(ours.fileno(), region, before=b"<<", after=b">>"))
    assert await receive(theirs, 7 * MIB - 1) == b"<<" + data[5 : 7 * MIB] + b">>"
    await sent
    assert (region.read(), open_descriptors()) == (data[5 : 7 * MIB], before)


@pytest_twisted.ensureDeferred
async def test_slow_reader_holds_up_nobody(sender: FileSender, pair: Pair, file: int) -> None:
    """A reader that takes nothing holds up no other one; its transfer tells how far it has come."""
    slow = RegionTransfer(pair[0].fileno(), Region(file, 0, 8 * MIB))
    slow_ended = sender.send(slow)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        fast_ended = sender.send(RegionTransfer(ours.fileno(), Region(file, 0, 8 * MIB)))
        await receive(theirs, 8 * MIB)
        await fast_ended
    assert 0 < slow.sent < 8 * MIB and not slow_ended.called
    await receive(pair[1], 8 * MIB)
    await slow_ended
    assert slow.sent == 8 * MIB


@pytest_twisted.ensureDeferred
async def test_given_up(sender: FileSender, pair: Pair, file: int) -> None:
    """A transfer that is cancelled lets go of its descriptors; the reader sees the end once the socket is closed."""
    ours, theirs = pair
    before = open_descriptors()
    ended = sender.send(RegionTransfer(ours.fileno(), Region(file, 0, 8 * MIB)))
    ended.cancel()
    with pytest.raises(CancelledError):
        await ended
    ours.close()
    while await deferToThread(theirs.recv, MIB):
        pass
    assert open_descriptors() == before - 1


@pytest_twisted.ensureDeferred
async def test_reader_leaves(sender: FileSender, pair: Pair, file: int) -> None:
    """When the other end is closed, the transfer fails."""
    ours, theirs = pair
    ended = sender.send(RegionTransfer(ours.fileno(), Region(file, 0, 8 * MIB)))
    await receive(theirs, MIB)
    theirs.close()
    with pytest.raises(OSError):
        await ended


@pytest_twisted.ensureDeferred
async def test_file_too_short(sender: FileSender, pair: Pair, file: int) -> None:
    """A file with less than the region fails the transfer."""
    ended = sender.send(RegionTransfer(pair[0].fileno(), Region(file, 8 * MIB - 10, 20)))
    with pytest.raises(EOFError):
        await ended


@pytest_twisted.ensureDeferred
async def test_stop(pair: Pair, file: int) -> None:
    """At the end what is under way fails, and everything is closed."""
    from twisted.internet import reactor

    before = open_descriptors()
    sender = FileSender(reactor=reactor, threads=2)
    await sender.start()
    ended = [sender.send(RegionTransfer(pair[0].fileno(), Region(file, 0, 8 * MIB))) for _ in range(3)]
    await sender.stop()
    assert not sender.running
    for one in ended:
        with pytest.raises(CancelledError):
            await one
    assert open_descriptors() == before


class Unwatchable:
    """A transfer whose socket can't be watched."""

    def __init__(self) -> None:
        self.closed = False

    def fileno(self) -> int:
        """Return a descriptor that no process has."""
        return 1 << 20

    def close(self) -> None:
        """Note the close."""
        self.closed = True


@pytest_twisted.ensureDeferred
async def test_a_socket_that_cannot_be_watched_fails_alone(sender: FileSender, pair: Pair, file: int) -> None:
    """An error of ``epoll.register`` ends that transfer, is told, and the thread goes on sending for everybody else."""
    ours, theirs = pair
    refused = Unwatchable()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await sender.send(cast(RegionTransfer, refused))
    assert refused.closed
    sent = sender.send(RegionTransfer(ours.fileno(), Region(file, 0, MIB)))
    assert await receive(theirs, MIB) == os.pread(file, MIB, 0)
    await sent


@pytest_twisted.ensureDeferred
async def test_without_a_thread_nothing_is_held(pair: Pair, file: int) -> None:
    """A sender that has stopped gives a transfer up at once, and says beforehand that it sends nothing."""
    sender = FileSender(reactor=None, threads=1)
    before = open_descriptors()
    assert not sender.running
    with pytest.raises(CancelledError):
        await sender.send(RegionTransfer(pair[0].fileno(), Region(file, 0, MIB)))
    assert open_descriptors() == before


def test_a_transfer_without_a_descriptor_holds_none(pair: Pair, file: int) -> None:
    """When the second descriptor of a transfer can't be had, the first is closed again."""
    before = open_descriptors()
    with pytest.raises(OSError, match="Bad file descriptor"):
        RegionTransfer(pair[0].fileno(), Region(1 << 20, 0, MIB))
    with pytest.raises(OSError, match="non-socket"):
        RegionTransfer(file, Region(file, 0, MIB))
    assert open_descriptors() == before
