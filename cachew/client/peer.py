"""Notices that git has gone away while its helper works for it."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN = 100
"""Milliseconds after which a process that has not ended is told again."""


@contextmanager
def watched(descriptor: int) -> Iterator[None]:
    """End this process by SIGTERM, whose handler cleans up, when nobody holds the other end of a pipe any more."""
    reading, writing = os.pipe()
    watcher = threading.Thread(target=_watch, args=(descriptor, reading), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(writing)
        watcher.join()
        os.close(reading)


def _watch(descriptor: int, ended: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.register(ended, 0)
    found = poll.poll()
    poll.unregister(descriptor)
    # A signal that comes just before a thread begins to wait does not wake it up, so one is not enough. It goes to the
    # thread that runs the handlers: another one's taking it would not wake that up either.
    while ended not in (one for one, _ in found):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        found = poll.poll(_AGAIN)
