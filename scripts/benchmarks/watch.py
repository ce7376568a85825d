"""Watches a server while it is measured: CPU seconds, peak memory, and how many ``upload-pack`` it ran.

Memory and processes are sampled by a thread, ten times a second; CPU time is exact.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from scripts.benchmarks import proc

_PERIOD = 0.1
_SETTLE = 5.0
"""Seconds that a server may take to end its children after the last client has gone."""


class Watch:
    """A context in which a server is watched.

    :param roots: the server's processes, of which the first is the one whose own memory is told.
    :param cpu: tells the CPU seconds that the server has used so far.
    :ivar cpu: CPU seconds of the server and its children.
    :ivar peak: most proportional memory of all of them at a time, in bytes.
    :ivar own_peak: most resident memory of the first process.
    :ivar own_before: its resident memory at the beginning.
    :ivar upload_packs: process ids of ``upload-pack`` seen, leaving out the shortest-lived.
    """

    def __init__(self, roots: tuple[int, ...], cpu: Callable[[], float]) -> None:
        self._roots, self._cpu = roots, cpu
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.cpu = 0.0
        self.peak = 0
        self.own_peak = 0
        self.own_before = 0
        self.upload_packs: set[int] = set()

    @property
    def own_growth(self) -> int:
        """How much more memory the first process had at its peak than at the beginning, in bytes."""
        return self.own_peak - self.own_before

    def __enter__(self) -> "Watch":
        self.own_before = proc.resident(self._roots[0])
        self._processes = self._count()
        self._cpu_before = self._cpu()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + _SETTLE
        while self._count() > self._processes and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stop.set()
        self._thread.join()
        self.cpu = self._cpu() - self._cpu_before

    def _count(self) -> int:
        return sum(len(proc.tree(root)) for root in self._roots)

    def _run(self) -> None:
        while True:
            self._sample()
            if self._stop.wait(_PERIOD):
                return

    def _sample(self) -> None:
        pids = [pid for root in self._roots for pid in proc.tree(root)]
        self.peak = max(self.peak, sum(map(proc.proportional, pids)))
        self.own_peak = max(self.own_peak, proc.resident(self._roots[0]))
        for pid in pids:
            words = proc.command_line(pid)
            if any("upload-pack" in word for word in words[:2]):
                self.upload_packs.add(pid)
