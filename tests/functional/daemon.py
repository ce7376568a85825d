"""A cachew in a process of its own, as operators run it, for tests that kill it."""

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.functional.canary import said
from tests.functional.replicas import SkewedClock
from tests.functional.server import HOST
from tests.http.wire import patient

PROJECT = Path(__file__).parents[2]


class Daemon(ProcessProtocol):
    """One run of ``twistd -n cachew``.

    :param directory: where its config and its state are; a later run finds what an earlier one left.
    :param upstream: base URL of its one upstream.
    :param config: more TOML, after the upstream's table.
    :param head: TOML before any table.
    :param under: the words of a command that runs it.
    :param environment: more of its environment.
    :param clock: its time of day, when that isn't the true one.
    """

    def __init__(
        self,
        *,
        directory: Path,
        upstream: str,
        config: str = "",
        head: str = "",
        under: Sequence[str] = (),
        clock: SkewedClock | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.state = directory / "state"
        self.output = ""
        self._config = directory / "cachew.toml"
        self._config.write_text(
            f'{head}\nstate = "{self.state}"\nlisten = ["tcp:0:interface=127.0.0.1"]\n'
            f'[upstreams."{HOST}"]\nurl = "{upstream}"\n{config}'
        )
        self._under = under
        self._environment = dict(environment or {})
        self._before = "" if clock is None else clock.program
        self._process: Any = None
        self._waiting: list[tuple[str, Deferred[None]]] = []
        self._ended: Deferred[int] = Deferred()
        self.running = False

    async def start(self, reactor: Any) -> None:
        """Start it and wait until it is ready."""
        words = [sys.executable, "-c", f"{self._before}\nfrom twisted.scripts.twistd import run; run()"]
        words = ["setsid", *self._under, *words, "-n", "--pidfile=", "cachew", "--config", str(self._config)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "LC_ALL": "C.UTF-8"}
        environment |= self._environment
        self.running = True
        self._process = reactor.spawnProcess(self, words[0], words, env=environment, path=None)
        await self.said("ready")

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", self.output)
        assert found, self.output
        return f"http://{found[1]}"

    @property
    def instead_of(self) -> tuple[str, str]:
        """What a user's git replaces, and with what."""
        return f"https://{HOST}/", f"{self.url}/git/{HOST}/"

    async def said(self, text: str) -> None:
        """Wait until its log holds a text."""
        if text not in self.output:
            deferred: Deferred[None] = Deferred()
            self._waiting.append((text, deferred))
            await patient(deferred)

    def outReceived(self, data: bytes) -> None:
        """Keep the log."""
        said.add(data)
        self.output += data.decode(errors="replace")
        for waiting in [one for one in self._waiting if one[0] in self.output]:
            self._waiting.remove(waiting)
            waiting[1].callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """Note its exit code."""
        ended: Any = reason.value
        self.running = False
        self._ended.callback(ended.exitCode if ended.signal is None else -ended.signal)
        for _, deferred in self._waiting:
            deferred.errback(AssertionError(f"the server has ended:\n{self.output}"))

    async def end(self, number: int) -> int:
        """Send it a signal, wait for its end, and return its exit code, minus the signal that ended it."""
        self._process.signalProcess(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end and return its exit code, minus the signal that ended it."""
        code: int = await patient(self._ended)
        return code

    async def kill(self) -> None:
        """End it without a chance to clean up, and its children with it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        await self.ended()

    def seen(self, path: Path) -> Path:
        """Return where a file is that the server sees at a path, though its mounts may be its own."""
        return Path(f"/proc/{self._process.pid}/root") / path.relative_to("/")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.signalProcess(number)
