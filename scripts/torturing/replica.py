"""One of the servers that are tortured: a process, its state directory, its time of day."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cachew.server.statelock import MARK
from scripts.torturing.bounds import READY
from scripts.torturing.durations import Durations
from tests.functional.daemon import Daemon
from tests.functional.rawhttp import ask
from tests.functional.replicas import SkewedClock
from tests.http.wire import Response

DISK = 250 * 2**20
"""Bytes of the small file system that a server has for itself."""


class Replica:
    """A server that is killed and started again.

    :param place: an empty directory of its own.
    :param upstream: base URL of the upstream that every server has.
    :param config: the rest of its settings.
    :param durations: where it is noted how long it takes to be ready.
    """

    def __init__(self, *, reactor: Any, place: Path, upstream: str, config: str, durations: Durations) -> None:
        self.place = place
        self.state = place / "state"
        self.clock = SkewedClock(place / "clock")
        self.has_disk = _small_disk(self.state)
        self.server: Daemon = None  # type: ignore[assignment]
        self.said = 0
        self._reactor = reactor
        self._upstream = upstream
        self._config = config
        self._durations = durations

    @property
    def name(self) -> str:
        """What it is called."""
        return self.place.name

    @property
    def pid(self) -> int:
        """Its process, 0 when it has ended."""
        return int(self.server._process.pid or 0)

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.server.url

    @property
    def token(self) -> str:
        """The admin token, as it is told."""
        try:
            return f"Authorization: Bearer {(self.state / 'admin-token').read_text().strip()}"
        except (OSError, UnicodeDecodeError):
            return "Authorization: Bearer none"

    async def start(self) -> None:
        """Start it on what an earlier one has left.

        :raise AssertionError: when it is not ready in time.
        """
        self.server = Daemon(directory=self.place, upstream=self._upstream, config=self._config, clock=self.clock)
        self.said = 0
        began = self._reactor.seconds()
        await self.server.start(self._reactor)
        took = self._reactor.seconds() - began
        self._durations.note("READY", took)
        if took > READY:
            raise AssertionError(f"{self.name} was not ready within {READY:.0f} s")

    async def restart(self) -> None:
        """Start it again if it does not run."""
        if not self.server.running:
            await self.start()

    async def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Response:
        """Ask it for something."""
        return await ask(self._reactor, self.url, method, path, *headers, body=body)

    def processes(self) -> Iterator[int]:
        """Yield what it, or an earlier one of the same state directory, has started."""
        status = self.state.stat()
        mark = os.fsencode(f"{MARK}={status.st_dev}:{status.st_ino}")
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)

    def children(self) -> list[int]:
        """Return what it has started and what still runs."""
        return sorted(pid for pid in self.processes() if pid != self.pid)

    def kill_children(self) -> None:
        """Kill whatever it has started."""
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def files(self) -> list[Path]:
        """Return the files of its state directory that an accident may hit, in their order."""
        found = (Path(place, name) for place, _, names in os.walk(self.state) for name in names)
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    async def end(self) -> None:
        """End it and take its disk away."""
        if self.server is not None and self.server.running:
            os.kill(self.pid, signal.SIGCONT)
            await self.server.kill()
            self.kill_children()
        if self.has_disk:
            subprocess.run(["umount", "-l", str(self.state)], check=False)  # noqa: ASYNC221


def _small_disk(state: Path) -> bool:
    """Make the state directory a file system of its own, if this may be done here."""
    state.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(state)]
    return os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0
