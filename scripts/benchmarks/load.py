"""Makes many clients in a process of its own and tells how they fared.

A client that measures servers must cost little and the same for all of them: one epoll loop, raw sockets, bodies are
received and forgotten. It is started with a :class:`Plan` pickled on its standard input and answers with a
:class:`Result` on its standard output.
"""

import heapq
import pickle
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.connection import Broken, Connection, Visit

_LIMIT = 600.0
"""Seconds after which a plan is given up."""


@dataclass(frozen=True)
class Plan:
    """What the clients do.

    :param visits: the clients take them in turn.
    :param clients: how many at once.
    :param seconds: start visits for that long, over and over; None does each visit once.
    :param pause: seconds between a client's visits.
    :param rate: bytes per second that each client takes; None for as fast as it can.
    :param abandon: seconds after which all clients hang up, whatever they have got.
    :param keep: a file for the body of the first visit's last answer.
    """

    visits: tuple[Visit, ...]
    clients: int = 1
    seconds: float | None = None
    pause: float = 0.0
    rate: float | None = None
    abandon: float | None = None
    keep: Path | None = None


@dataclass
class Result:
    """How they fared.

    :param wall: seconds from the first connection to the last byte.
    :param latencies: seconds of each visit that succeeded.
    :param first_bytes: seconds until the first byte of each one's last answer.
    :param received: bytes of bodies.
    :param failures: what went wrong, one line per failed visit.
    :param chunked: whether the last answer of the visit that ended last came in chunks.
    """

    wall: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    received: int = 0
    failures: list[str] = field(default_factory=list)
    chunked: bool = False


class Clients:
    """Carries a plan out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        self._result = Result()
        self._timers: list[tuple[float, int, Connection | None]] = []
        self._order = 0
        self._running = 0

    def run(self) -> Result:
        """Run to the end."""
        begin = time.perf_counter()
        todo = self._todo(begin)
        for _ in range(self._plan.clients):
            self._next(todo)
        limit = begin + (self._plan.abandon or _LIMIT)
        while (self._running or self._timers) and (now := time.perf_counter()) < limit:
            for key, _ in self._selector.select(self._wait(now, limit)):
                self._turn(key.data, todo)
            self._wake(todo)
        self._result.wall = time.perf_counter() - begin
        self._hang_up()
        return self._result

    def _todo(self, begin: float) -> Iterator[Visit]:
        number = 0
        while (
            number < len(self._plan.visits)
            if self._plan.seconds is None
            else time.perf_counter() < begin + self._plan.seconds
        ):
            yield self._plan.visits[number % len(self._plan.visits)]
            number += 1

    def _next(self, todo: Iterator[Visit]) -> None:
        visit = next(todo, None)
        if visit is not None:
            keep = self._plan.keep if self._order == 0 else None
            self._order += 1
            self._running += 1
            self._selector.register((one := Connection(visit, keep=keep)).socket, selectors.EVENT_WRITE, one)

    def _turn(self, connection: Connection, todo: Iterator[Visit]) -> None:
        try:
            events = connection.turn(64 * 1024 if self._plan.rate else 1024 * 1024)
        except (Broken, OSError, ValueError) as error:
            self._result.failures.append(f"{type(error).__name__}: {error}")
            events = 0
        if not events:
            self._end(connection)
            if self._plan.pause:
                self._later(time.perf_counter() + self._plan.pause, None)
            else:
                self._next(todo)
        elif self._plan.rate and connection.received / self._plan.rate > time.perf_counter() - connection.begin:
            self._selector.unregister(connection.socket)
            self._later(connection.begin + connection.received / self._plan.rate, connection)
        else:
            self._selector.modify(connection.socket, events, connection)

    def _later(self, when: float, connection: Connection | None) -> None:
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, connection))

    def _wait(self, now: float, limit: float) -> float:
        return max(0.0, min(limit, self._timers[0][0] if self._timers else limit) - now)

    def _wake(self, todo: Iterator[Visit]) -> None:
        while self._timers and self._timers[0][0] <= time.perf_counter():
            connection = heapq.heappop(self._timers)[2]
            if connection is None:
                self._next(todo)
            else:
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _end(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.close()
        self._running -= 1
        self._result.received += connection.received
        if connection.finished:
            self._result.chunked = connection.chunked
            self._result.latencies.append(connection.finished - connection.begin)
            self._result.first_bytes.append(connection.first_byte - connection.begin)

    def _hang_up(self) -> None:
        left = [key.data for key in list(self._selector.get_map().values())]
        left += [connection for _, _, connection in self._timers if connection is not None]
        for connection in left:
            connection.close()
            self._result.received += connection.received
        if left and self._plan.abandon is None:
            self._result.failures += [f"not done after {_LIMIT:.0f} s"] * len(left)


def run(plan: Plan) -> Result:
    """Carry a plan out in a process of its own.

    :raise RuntimeError: when that process fails.
    """
    return Running(plan).result()


class Running:
    """A plan under way in a process of its own."""

    def __init__(self, plan: Plan) -> None:
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "scripts.benchmarks.load"]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        pickle.dump(plan, self._process.stdin)
        self._process.stdin.flush()

    def result(self) -> Result:
        """Wait for the end.

        :raise RuntimeError: when the process fails.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the load client failed with {self._process.returncode}")
        result = pickle.loads(output)
        assert isinstance(result, Result)
        return result


def main() -> None:
    """Be the process."""
    plan = pickle.load(sys.stdin.buffer)
    socket.setdefaulttimeout(None)
    # Under the name that the other process knows it by.
    from scripts.benchmarks import load

    sys.stdout.buffer.write(pickle.dumps(load.Clients(plan).run()))


if __name__ == "__main__":
    main()
