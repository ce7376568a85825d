"""Threads for work that the interpreter is not needed for: receiving, hashing, decompressing.

Nobody waits for them when all is over or broken off: a thread may stand in a request that gets no answer. The executors
of ``concurrent.futures`` are waited for at the interpreter's end, and take longer to import than to use.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from cachew.client.clienterrors import ClientError

Result = TypeVar("Result")


class Job(Generic[Result]):
    """Work under way.

    :param work: what is to be done.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._running = threading.Lock()
        self._running.acquire()
        self._result: Result
        self._error: BaseException | None = None

    @classmethod
    def done(cls, result: Result) -> "Job[Result]":
        """Return work that was none."""
        job = cls(lambda: result)
        job.run()
        return job

    def is_done_within(self, seconds: float) -> bool:
        """Wait for it for a while, and tell whether it is done."""
        done = self._running.acquire(timeout=seconds)
        if done:
            self._running.release()
        return done

    def run(self) -> None:
        """Do it."""
        try:
            self._result = self._work()
        except BaseException as error:  # raised again where the result is asked for
            self._error = error
        del self._work
        self._running.release()

    def result(self) -> Result:
        """Wait until it is done and return what came of it, or raise what it raised."""
        with self._running:
            if self._error is not None:
                raise self._error
            return self._result


class Workers:
    """A few threads that do jobs in the order in which they come.

    :param name: what they are called.
    :ivar count: how many there are when there is enough to do.
    """

    def __init__(self, count: int, name: str) -> None:
        self.count = count
        self._name = name
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads = 0

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Job[Result]:
        """Have something done.

        :raise ClientError: when there is nothing that could do it.
        """
        if self._threads < self.count:
            self._start()
        job = Job(partial(work, *arguments))
        self._jobs.put(job)
        return job

    def _start(self) -> None:
        """Start one more thread; where the system gives no more, those that there are do all of the work."""
        thread = threading.Thread(target=self._run, name=f"{self._name} {self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise ClientError("the system gives no thread", "See ulimit -u and ulimit -v.") from error
        else:
            self._threads += 1

    def join_in(self, most: int) -> None:
        """Let one thread more join in, unless there are so many."""
        if self.count < most:
            self.count += 1
            self._start()

    def close(self) -> None:
        """Give up what has not begun, and let the threads end after what they are at."""
        with suppress(Empty):
            while True:
                self._jobs.get_nowait()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
