"""Jobs in threads, where the system gives few of them or none."""

import threading
from typing import Any

import pytest

from cachew.client.clienterrors import ClientError
from cachew.client.workers import Workers


class FewThreads:
    """The system's threads, of which there are so many left.

    :param left: how many.
    """

    def __init__(self, left: int) -> None:
        self._left = left
        self._start = threading.Thread.start

    def start(self, thread: Any) -> None:
        """Start one, as long as there are any."""
        if not self._left:
            raise RuntimeError("can't start new thread")
        self._left -= 1
        self._start(thread)


def test_few_threads_do_all_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one thread, it does what three would have done."""
    few = FewThreads(1)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: few.start(thread))
    workers = Workers(3, "test")
    jobs = [workers.submit(pow, 2, number) for number in range(5)]
    assert [job.result() for job in jobs] == [1, 2, 4, 8, 16]
    workers.close()


def test_no_thread_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, that is told instead of waited for."""
    few = FewThreads(0)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: few.start(thread))
    with pytest.raises(ClientError, match="no thread"):
        Workers(3, "test").submit(pow, 2, 2)
