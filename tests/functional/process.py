"""A whole cachew in a process of its own, as an operator starts it, for what can only be seen from outside."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.functional.canary import said

PROJECT = Path(__file__).parents[2]
_TWISTD = "from twisted.scripts.twistd import run; run()"
_ADDRESS = re.compile(rb"listening on 127\.0\.0\.1:([0-9]+)")


class ServerProcess(ProcessProtocol):
    """Runs ``twistd cachew`` and keeps what it logs.

    :param reactor: the reactor.
    :param directory: where its state and config are.
    :param config: TOML.
    """

    transport: Any

    def __init__(self, *, reactor: Any, directory: Path, config: str) -> None:
        self._reactor, self._directory = reactor, directory
        directory.mkdir(exist_ok=True)
        (directory / "cachew.toml").write_text(f'listen = ["tcp:0:interface=127.0.0.1"]\nstate = "state"\n{config}')
        self.log = bytearray()
        self.port = 0
        self._ready: Deferred[None] = Deferred()
        self._ended: Deferred[None] = Deferred()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self.transport.pid)

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        argv = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "cachew", "--config", "cachew.toml"]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "HOME": str(self._directory)}
        self._reactor.spawnProcess(self, argv[0], argv, env=env, path=str(self._directory))
        await self._ready

    async def stop(self) -> None:
        """End it as an operator does and wait for its end."""
        if not self._ended.called:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess("TERM")
            await self._ended

    def outReceived(self, data: bytes) -> None:
        """Keep the log, and learn from it where the server listens and when it is ready."""
        self.log += data
        said.add(data)
        if not self._ready.called and b"Server: ready" in self.log and (found := _ADDRESS.search(self.log)):
            self.port = int(found[1])
            self._ready.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """Tell who waits."""
        if not self._ready.called:
            self._ready.errback(RuntimeError(f"the server did not start:\n{self.log.decode(errors='replace')}"))
        self._ended.callback(None)

    def facts(self, name: str) -> bytes:
        """Return what the kernel knows of it (proc(5)), e.g. its ``limits``."""
        return Path(f"/proc/{self.pid}/{name}").read_bytes()

    def peak(self) -> int:
        """Return the most bytes that it has ever had resident."""
        found = re.search(rb"VmHWM:\s+([0-9]+) kB", self.facts("status"))
        assert found is not None
        return int(found[1]) * 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that it and its children have used (proc(5), ``stat``)."""
        fields = self.facts("stat").rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the bytes that it has resident, its children left out (proc(5), ``statm``)."""
        pages = int(self.facts("statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
