"""The log of a whole server, whoever takes it."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.functional.process import ServerProcess
from tests.functional.rawhttp import connect, request_lines
from tests.http.wire import patient

REQUESTS = 1500


class Unread(ServerProcess):
    """A server whose log is not read any more after its start."""

    exited: "Deferred[None]"

    async def start(self) -> None:
        """Start it and read no further."""
        self.exited = Deferred()
        await super().start()
        self._pipe.stopReading()

    @property
    def _pipe(self) -> Any:
        return self.transport.pipes[1]

    def processExited(self, reason: Failure) -> None:
        """Tell that it has ended, though its log was not read."""
        self.exited.callback(None)
        self._pipe.startReading()


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(60)
async def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """With a full pipe for its log a server answers, and ends when it is told to."""
    server = Unread(reactor=reactor, directory=tmp_path / "server", config="")
    await server.start()
    client = await connect(reactor, server.url)
    for _ in range(REQUESTS):
        client.send(request_lines("GET", "/nothing"))
        assert (await client.response()).status == 404
    client.transport.loseConnection()
    server.transport.signalProcess("TERM")
    await patient(server.exited)
    await server.stop()
    assert server.log.count(b"/nothing") < REQUESTS, "the pipe was full"
