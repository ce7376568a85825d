"""Regions of files on their way to sockets, in threads of their own.

``sendfile(2)`` copies inside the kernel and may wait for a disk; done in the reactor's thread it would hold up every
other client for that long. What lies in memory is copied here too, for the same reason. Each thread has an epoll of its
own and gives all its sockets turns of the same size, so a thousand slow readers cost two descriptors each, and a fast
one does not starve the others.

A transfer works on duplicates of both descriptors: whoever closes the originals closes nothing under its hands. While
it lasts nobody else may write to the socket.
"""

import os
import select
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail

from cachew.plumbing.regions import AnyRegion
from cachew.plumbing.streams import owned

_TURN = 2 * 1024 * 1024
"""The most that one socket takes before it is another one's turn, in bytes."""
_NICENESS = 10
"""How far these threads stand back for the reactor's, whose work is short and is waited for."""


class RegionTransfer:
    """A region on its way.

    :param connection: the descriptor of a non-blocking stream socket.
    :param region: what is sent.
    :param before: bytes that precede it.
    :param after: bytes that follow it.
    :ivar sent: bytes of the region that the socket has taken so far; may be read in any thread.
    """

    def __init__(self, connection: int, region: AnyRegion, *, before: bytes = b"", after: bytes = b"") -> None:
        self._socket = _socket_of(connection)
        with owned(self._socket):
            self._region = region.held()
        self._before, self._after = memoryview(before), memoryview(after)
        self.sent = 0

    def fileno(self) -> int:
        """Return the descriptor to be watched; -1 once it is closed."""
        return self._socket.fileno()

    def advance(self) -> bool:
        """Send one turn's worth and tell whether everything has been sent.

        :raise BlockingIOError: when the socket takes no more for now.
        """
        while self._before:
            self._before = self._before[self._socket.send(self._before, socket.MSG_MORE) :]
        room = _TURN
        while room and (left := self._region.length - self.sent):
            count = self._region.send(self._socket, self.sent, min(room, left))
            if not count:
                raise EOFError("a file is shorter than announced")
            self.sent += count
            room -= count
        if self.sent < self._region.length:
            return False
        while self._after:
            self._after = self._after[self._socket.send(self._after) :]
        return True

    def break_off(self) -> None:
        """Have the transfer end soon, because nobody receives any more; what the socket has taken is told then."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the descriptors; may be called more than once."""
        if self.fileno() != -1:
            self._region.close()
            self._socket.close()


def _socket_of(connection: int) -> socket.socket:
    descriptor = os.dup(connection)
    try:
        return socket.socket(fileno=descriptor)
    except BaseException:
        os.close(descriptor)
        raise


class FileSender:
    """Sends regions of files.

    :param reactor: in whose thread transfers are begun, given up and told to have ended.
    :param threads: how many send.
    """

    def __init__(self, *, reactor: Any, threads: int) -> None:
        self._reactor, self._count = reactor, threads
        self._threads: list[_SendingThread] = []

    async def start(self) -> None:
        """Start the threads."""
        self._threads = [_SendingThread(self._reactor, number) for number in range(self._count)]
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Give up what is under way, and end the threads."""
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.finish()

    @property
    def running(self) -> bool:
        """Whether anything can be sent."""
        return any(thread.is_alive() for thread in self._threads)

    def send(self, transfer: RegionTransfer) -> Deferred[None]:
        """Begin a transfer, which is closed in the end.

        :return: fires when the socket has taken everything; fails with :class:`OSError` when the connection is gone or
            anything else is wrong, with :class:`EOFError` when the file is shorter than the region, and with
            :class:`CancelledError` when the server stops. Cancelling it gives the transfer up.
        """
        threads = [thread for thread in self._threads if thread.is_alive()]
        if not threads:
            transfer.close()
            return fail(CancelledError())
        return min(threads, key=lambda thread: thread.load).begin(transfer)


class _SendingThread(threading.Thread):
    """One thread with its sockets. What the reactor's thread wants of it waits in a queue, and a bell wakes it."""

    def __init__(self, reactor: Any, number: int) -> None:
        super().__init__(name=f"cachew-send-{number}", daemon=True)
        self._reactor = reactor
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._begun: deque[tuple[RegionTransfer, Deferred[None]]] = deque()
        self._given_up: deque[RegionTransfer] = deque()
        self._open: dict[int, tuple[RegionTransfer, Deferred[None]]] = {}
        self._finishing = False
        self.load = 0

    # In the reactor's thread.

    def begin(self, transfer: RegionTransfer) -> Deferred[None]:
        """Take a transfer."""
        ended: Deferred[None] = Deferred(lambda _: self._give_up(transfer))
        self.load += 1
        self._begun.append((transfer, ended))
        self._ring()
        return ended

    def _give_up(self, transfer: RegionTransfer) -> None:
        self.load -= 1
        self._given_up.append(transfer)
        self._ring()

    def finish(self) -> None:
        """End the thread; what is under way fails."""
        self._finishing = True
        self._ring()
        self.join()
        self._epoll.close()
        os.close(self._bell)

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def _tell(self, ended: Deferred[None], failure: Exception | None) -> None:
        if ended.called:  # given up meanwhile
            return
        self.load -= 1
        if failure is None:
            ended.callback(None)
        else:
            ended.errback(failure)

    # In this thread.

    def run(self) -> None:
        """Send until the end."""
        os.nice(_NICENESS)  # of this thread alone, on Linux
        try:
            while not self._finishing:
                for descriptor, _ in self._epoll.poll():
                    if descriptor == self._bell:
                        os.eventfd_read(self._bell)
                        self._take_orders()
                    elif descriptor in self._open:
                        self._advance(*self._open[descriptor])
        finally:
            self._take_orders()
            for transfer, ended in list(self._open.values()):
                self._end(transfer, ended, CancelledError())

    def _take_orders(self) -> None:
        while self._begun:
            self._register(*self._begun.popleft())
        while self._given_up:
            self._close(self._given_up.popleft())

    def _register(self, transfer: RegionTransfer, ended: Deferred[None]) -> None:
        """Watch a transfer's socket; one that can't be watched fails alone."""
        try:
            self._epoll.register(transfer, select.EPOLLOUT)
        except Exception as failure:
            self._end(transfer, ended, failure)
        else:
            self._open[transfer.fileno()] = transfer, ended

    def _advance(self, transfer: RegionTransfer, ended: Deferred[None]) -> None:
        try:
            done = transfer.advance()
        except BlockingIOError:
            return
        except Exception as failure:
            self._end(transfer, ended, failure)
        else:
            if done:
                self._end(transfer, ended, None)

    def _end(self, transfer: RegionTransfer, ended: Deferred[None], failure: Exception | None) -> None:
        self._close(transfer)
        self._reactor.callFromThread(self._tell, ended, failure)

    def _close(self, transfer: RegionTransfer) -> None:
        """Forget a transfer; one that is given up may have ended already."""
        if self._open.pop(transfer.fileno(), None) is not None:
            with suppress(OSError):
                self._epoll.unregister(transfer)
        transfer.close()
