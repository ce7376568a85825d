"""Servers that share an object store: in the reactor of the tests, and as processes of their own that can be killed."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.functional.canary import said
from tests.functional.gitcgi import git_environment
from tests.functional.server import HOST
from tests.http.wire import Signal, patient

PROJECT = Path(__file__).parents[2]


def tiers(endpoint: str, prefix: str, *, near: str = "disk", timeout: str = "10s") -> str:
    """Return the config of a cache whose last tier is shared.

    :param endpoint: the store's URL.
    :param prefix: tells one test's objects from another's.
    :param near: the backend of the nearer tier; empty for none.
    """
    own = f'[[cache]]\nbackend = "{near}"\nlimit = "1GB"\n' if near else ""
    return f"""{own}
[[cache]]
backend = "s3"
endpoint = "{endpoint}"
bucket = "{BUCKET}"
prefix = "{prefix}"
access-key = "{ACCESS_KEY}"
secret-key = "{SECRET_KEY}"
timeout = "{timeout}"
"""


class GitThatStops:
    """A ``git`` that works, but for one command that waits when a test wants that, until it may go on.

    :param directory: where it is put; what has it first in its ``PATH`` runs it.
    :param word: the command.
    """

    def __init__(self, directory: Path, word: str) -> None:
        directory.mkdir()
        self.directory, self._armed, self.notice = directory, directory / "armed", directory / "notice"
        self._leave = directory / "leave"
        os.mkfifo(self.notice)
        os.mkfifo(self._leave)
        script = f"""#!/bin/sh
case " $* " in *" {word} "*)
    if mv {self._armed} {self._armed}.taken 2>/dev/null; then echo "$*" > {self.notice}; cat {self._leave}; fi;;
esac
exec {shutil.which("git")} "$@"
"""
        (directory / "git").write_text(script)
        (directory / "git").chmod(0o755)

    def stop_the_next(self) -> None:
        """Have the next such command wait; its words can be read from :attr:`notice`."""
        self._armed.touch()

    def go_on(self) -> None:
        """Let the command that waits go on."""
        os.close(os.open(self._leave, os.O_WRONLY | os.O_NONBLOCK))


class SkewedClock:
    """The time of day of one server process, which a test puts forward or back.

    :param file: where it is said by how much.
    """

    def __init__(self, file: Path, ahead: float = 0.0) -> None:
        self.file = file
        file.touch()
        self.put(ahead)

    def put(self, ahead: float) -> None:
        """Have it be so many seconds ahead of the true time; behind when negative.

        Never is the file empty for a moment, in which whoever asked for the time would fail: that ended the schedule.
        """
        with open(self.file, "r+b", buffering=0) as file:
            file.write(f"{ahead:09.1f}\n".encode())

    @property
    def program(self) -> str:
        """Python that makes it the process's own."""
        return f"""
import os, time
true, file = time.time, os.open({str(self.file)!r}, os.O_RDONLY)
time.time = lambda: true() + float(os.pread(file, 20, 0))
"""


class ServerProcess(ProcessProtocol):
    """``twistd cachew`` as a process, the first of its group.

    :param reactor: watches it.
    :param state: its state directory; its config lies beside it.
    :param config: the config, without ``state`` and ``listen``.
    :param path: directories that come first in its ``PATH``.
    :param clock: its time of day, when that isn't the true one.
    """

    transport: Any

    def __init__(
        self,
        *,
        reactor: Any,
        state: Path,
        upstream: str,
        config: str,
        path: Path | None = None,
        clock: SkewedClock | None = None,
    ) -> None:
        self.state, self.lines = state, list[tuple[float, str]]()
        self._reactor, self._path = reactor, path
        self._before = "" if clock is None else clock.program
        self._rest = b""
        self._changed, self._ended = Signal(), Signal()
        self.ended = self.ready = False
        state.mkdir(mode=0o700)
        self._file = state.with_suffix(".toml")
        head = f'state = "{state}"\nlisten = ["tcp:0:interface=127.0.0.1"]\nshutdown-timeout = "1s"\n'
        self._file.write_text(f'{head}[upstreams."{HOST}"]\nurl = "{upstream}"\n{config}')

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        environment = git_environment(self.state.parent, {}) | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
        if self._path is not None:
            environment["PATH"] = f"{self._path}{os.pathsep}{environment['PATH']}"
        run = [sys.executable, "-c", f"{self._before}\nfrom twisted.scripts.twistd import run; run()"]
        words = ["setsid", "env", f"--chdir={self.state.parent}", *run, "-n", "--pidfile=", "cachew"]
        words += ["--config", str(self._file)]
        self._reactor.spawnProcess(self, "setsid", words, env=environment, path=None)
        listening = await self.seen("listening on 127.0.0.1:")
        self.url = f"http://127.0.0.1:{int(listening.rpartition(':')[2])}"
        await self.seen(": ready")
        self.ready = True

    @property
    def instead_of(self) -> tuple[str, str]:
        """What a user's git replaces, and with what."""
        return f"https://{HOST}/", f"{self.url}/git/{HOST}/"

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.state / "admin-token").read_text().strip()

    def times(self, text: str) -> list[float]:
        """Return when lines that hold a text were logged."""
        return [moment for moment, line in self.lines if text in line]

    async def seen(self, text: str, count: int = 1) -> str:
        """Wait until so many lines that hold a text were logged; return the last of them."""
        while True:
            found = [line for _, line in self.lines if text in line]
            if len(found) >= count:
                return found[count - 1]
            assert not self.ended, "\n".join(line for _, line in self.lines)
            await self._changed.wait()

    def next(self, text: str) -> Deferred[str]:
        """Return the next line that holds a text."""
        return patient(Deferred.fromCoroutine(self.seen(text, len(self.times(text)) + 1)))

    async def kill(self) -> None:
        """End it and all that it has started, at once, as when its machine loses power."""
        os.killpg(self.transport.pid, signal.SIGKILL)
        await self._ended.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and to it alone."""
        os.kill(self.transport.pid, number)

    async def stop(self) -> None:
        """Have it end and wait for that."""
        if not self.ended:
            self.transport.signalProcess("TERM")
            await self._ended.wait()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the lines of the log."""
        said.add(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [(self._reactor.seconds(), line.decode(errors="replace")) for line in lines]
        self._tell()

    def processEnded(self, reason: Failure) -> None:
        """Tell those who wait."""
        self.ended = True
        self._ended.fire()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, Signal()
        changed.fire()
